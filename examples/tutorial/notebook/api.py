from flask import Blueprint, request
from flask_jam import api_key_required, current_user_as, jwt_required, protect, public

from .extensions import jwt
from .models import Note, User, check_login, db

blueprint = Blueprint("api", __name__, url_prefix="/api")
protect(blueprint, jwt_required | api_key_required(scopes={"notes:read"}))


@blueprint.post("/login")
@public
def login():
    email, password = request.form.get("email", ""), request.form.get("password", "")
    user = check_login(email, password)
    if user is None:
        jwt.refuse_login(email)
    return jwt.login(user.subject)


@blueprint.post("/refresh")
@public
def refresh():
    return jwt.refresh()


@blueprint.post("/logout")
@public
def logout():
    jwt.logout()
    return "", 204


@blueprint.get("/notes")
def notes():
    return [{"id": note.id, "text": note.text} for note in current_user_as(User).notes]


@blueprint.post("/notes")
@jwt_required
def add_note():
    body = request.get_json()
    text = body.get("text") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text.strip():
        return {"error": "send a text"}, 422
    note = Note(text=text.strip(), owner=current_user_as(User))
    db.session.add(note)
    db.session.commit()
    return {"id": note.id, "text": note.text}, 201
