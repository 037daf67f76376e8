from flask import Blueprint, redirect, render_template, request, url_for
from flask_jam import public, safe_next

from .extensions import session
from .models import check_login

blueprint = Blueprint("auth", __name__)


@blueprint.get("/login")
@public
def login():
    return render_template("login.html")


@blueprint.post("/login")
@public
def check():
    user = check_login(request.form.get("email", ""), request.form.get("password", ""))
    if user is None:
        return render_template("login.html", is_wrong=True), 401
    session.login(user.subject)
    return redirect(safe_next(url_for("site.notes")), 303)


@blueprint.post("/logout")
@public
def logout():
    session.logout()
    return redirect(url_for("auth.login"), 303)
