from flask import Blueprint, current_app, redirect, render_template, request, url_for
from flask_jam import TokenError, public

from .extensions import get_jam
from .mail import send_mail
from .models import User, db, find_user

PURPOSE = "reset a password"
blueprint = Blueprint("reset", __name__)


@blueprint.get("/forgot")
@public
def forgot():
    return render_template("forgot.html")


@blueprint.post("/forgot")
@public
def send_link():
    user = find_user(request.form.get("email", ""))
    if user is not None:
        ticket = get_jam().issue_ticket(
            PURPOSE,
            user.subject,
            expires_in=3600,
            bound_to=user.password_hash,
        )
        link = current_app.config["SITE_URL"] + url_for("reset.form", ticket=ticket)
        send_mail(user.email, "Choose a new password", link)
    return render_template("forgot.html", is_sent=True)


@blueprint.get("/reset/<ticket>")
@public
def form(ticket):
    get_jam().peek_ticket(PURPOSE, ticket, bound_to=get_password_hash)
    return render_template("reset.html")


@blueprint.post("/reset/<ticket>")
@public
def save(ticket):
    password = request.form.get("password", "")
    if len(password) < 8:
        return render_template("reset.html", is_short=True), 422
    redeemed = get_jam().redeem_ticket(PURPOSE, ticket, bound_to=get_password_hash)
    user = db.session.get(User, int(redeemed.subject))
    user.set_password(password)
    db.session.commit()
    get_jam().revoke_subject(user.subject)
    return redirect(url_for("auth.login"), 303)


def get_password_hash(ticket):
    user = db.session.get(User, int(ticket.subject))
    return user.password_hash if user and user.is_active else None


@blueprint.errorhandler(TokenError)
def link_is_over(error):
    return render_template("forgot.html", is_over=True), 410


@blueprint.after_request
def keep_link_secret(response):
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
