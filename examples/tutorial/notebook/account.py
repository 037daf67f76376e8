from flask import Blueprint, redirect, render_template, url_for
from flask_jam import current_user_as, protect, session_required

from .extensions import get_jam, session
from .models import User, db

blueprint = Blueprint("account", __name__, url_prefix="/account")
protect(blueprint, session_required(max_age=300))


@blueprint.get("/close")
def confirm():
    return render_template("close.html")


@blueprint.post("/close")
def close():
    user = current_user_as(User)
    user.is_active = False
    user.notes.clear()
    db.session.commit()
    get_jam().revoke_subject(user.subject)
    session.logout()
    return redirect(url_for("auth.login"), 303)
