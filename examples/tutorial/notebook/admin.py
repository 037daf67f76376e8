from flask import Blueprint, redirect, render_template, url_for
from flask_jam import protect, session_required

from .extensions import get_jam
from .models import User, db

blueprint = Blueprint("admin", __name__, url_prefix="/users")
protect(blueprint, session_required(roles={"admin"}))


@blueprint.get("/")
def users():
    everyone = db.session.scalars(db.select(User).order_by(User.id))
    return render_template("users.html", users=everyone)


@blueprint.post("/<int:user_id>/lock")
def lock(user_id):
    user = db.get_or_404(User, user_id)
    user.is_active = False
    db.session.commit()
    get_jam().revoke_subject(user.subject)
    return redirect(url_for("admin.users"), 303)
