"""The pages behind links in mails: reset a password, confirm an e-mail address.

Mail programs and scanners open links by themselves. So a link only leads to a page: it looks at
the ticket, and the button on it uses the ticket up.
"""

from __future__ import annotations

from flask import Blueprint, Flask, current_app, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import Gone
from werkzeug.wrappers import Response

from flask_jam import (
    Ticket,
    TokenError,
    current_subject,
    current_user_as,
    public,
    session_required,
)

from . import errors, throttle
from .logins import jam
from .outbox import Mail, send
from .people import User, people, plain
from .register import weakness

_RESET, _CONFIRM = "reset a password", "confirm an e-mail address"
_HOUR, _DAY = 3600, 86400


def init_app(app: Flask) -> None:
    blueprint = Blueprint("links", __name__)
    asks, changes = throttle.limit_mails(app, forgot), throttle.limit_mails(app, change_email)
    # As strict as closing the account: the owner of the new address can choose a new password.
    recent = session_required(max_age=app.config["STEP_UP_SECONDS"])
    for rule, name, view in (
        ("/forgot", "forgot", asks),
        ("/reset/<ticket>", "reset", reset),
        ("/account/email", "change_email", recent(changes)),
        ("/confirm/<ticket>", "confirm", confirm),
    ):
        blueprint.add_url_rule(rule, name, view, methods=["GET", "POST"])
    blueprint.after_request(_keep_secret)
    blueprint.register_error_handler(TokenError, _is_over)
    app.register_blueprint(blueprint)


def _keep_secret(response: Response) -> Response:
    """An address with a ticket: no site may see it, and no cache may keep its page."""
    response.headers["Cache-Control"] = "no-store"
    # Not for the form of a signed-in user: with it, a browser hides where a form comes from.
    if "ticket" in (request.view_args or {}):
        response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _is_over(_error: TokenError) -> Response:
    return errors.page(Gone())


def _link(endpoint: str, ticket: str | None = None) -> str:
    """Return the address for a mail. Its host is a setting: that of a request is the sender's."""
    return current_app.config["SITE_URL"].rstrip("/") + url_for(endpoint, ticket=ticket)


# --- reset a password --------------------------------------------------------------------------


@public
def forgot() -> str:
    if request.method == "GET":
        return render_template("forgot.html")
    address = plain(request.form.get("email", ""))
    user = people().with_email(address)
    # For an address that is unknown, the same work is done, and the mail is thrown away.
    subject, bound_to = (user.id, _state_of(user)) if user else ("unknown", "")
    ticket = jam().issue_ticket(_RESET, subject, expires_in=_HOUR, bound_to=bound_to)
    mail = Mail(address, "Choose a new password", _link("links.reset", ticket))
    if user is not None:
        send(mail)
    return render_template(
        "sent.html", text="If this address belongs to an account, a link is on its way."
    )


@public
def reset(ticket: str) -> str | tuple[str, int] | Response:
    user = _user(jam().peek_ticket(_RESET, ticket, bound_to=_present_state))
    if request.method == "GET":
        return render_template("reset.html", user=user, wrong={})
    wrong = _mistakes(user)
    if wrong:
        return render_template("reset.html", user=user, wrong=wrong), 422
    jam().redeem_ticket(_RESET, ticket, bound_to=_present_state)
    people().set_password(user, request.form["password"])
    jam().revoke_subject(user.id)  # every browser and app, also a thief's
    flash("Your new password is set, and you are signed out everywhere. Log in with it.")
    return redirect(url_for("auth.login"), 303)


def _mistakes(user: User) -> dict[str, str]:
    password, again = request.form.get("password", ""), request.form.get("again", "")
    found = {
        "password": weakness(password, user.name),
        "again": "" if again == password else "This is not the same password.",
    }
    return {field: text for field, text in found.items() if text}


def _state_of(user: User) -> str:
    """Return what the link hangs on: a change of the password, or of the address, ends it."""
    return f"{user.password_hash} {user.email}"


def _present_state(ticket: Ticket) -> str | None:
    user = people().get(ticket.subject)
    return None if user is None or user.is_closed else _state_of(user)


# --- confirm an e-mail address -----------------------------------------------------------------


def change_email() -> str | tuple[str, int]:
    if request.method == "GET":
        return render_template("email.html")
    address = plain(request.form.get("email", ""))
    if not 3 <= len(address) <= 254 or "@" not in address or not address.isprintable():
        return render_template("email.html", wrong="This is no e-mail address."), 422
    ticket = jam().issue_ticket(
        _CONFIRM, current_subject(), expires_in=_DAY, data={"email": address}
    )
    _warn(current_user_as(User))
    send(Mail(address, "Confirm your address", _link("links.confirm", ticket)))
    return render_template("sent.html", text="Open the link that we have sent to this address.")


def _warn(user: User) -> None:
    """Tell the owner of the present address, who may not be who asked for another."""
    if user.email is not None:
        send(Mail(user.email, "Your address is about to change", _link("logins.index")))


@public
def confirm(ticket: str) -> str | Response:
    found = jam().peek_ticket(_CONFIRM, ticket)
    if request.method == "GET":
        return render_template("address.html", user=_user(found), email=found.data["email"])
    found = jam().redeem_ticket(_CONFIRM, ticket)
    is_set = people().set_email(_user(found), found.data["email"])
    flash("Your address is confirmed." if is_set else "This address belongs to another account.")
    return redirect(url_for("pages.home"), 303)


def _user(ticket: Ticket) -> User:
    user = people().get(ticket.subject)
    if user is None or user.is_closed:
        raise Gone
    return user
