from flask import Blueprint, redirect, render_template, request, url_for
from flask_jam import current_user_as, protect, session_required

from .models import Note, User, db

blueprint = Blueprint("site", __name__)
protect(blueprint, session_required)


@blueprint.get("/")
def notes():
    return render_template("notes.html", notes=current_user_as(User).notes)


@blueprint.post("/notes")
def add_note():
    text = request.form.get("text", "").strip()
    if text:
        db.session.add(Note(text=text, owner=current_user_as(User)))
        db.session.commit()
    return redirect(url_for("site.notes"), 303)
