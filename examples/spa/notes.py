"""The API: everybody's own notes. A real application keeps them in a database."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, abort, current_app, g, request

from flask_jam import jwt_required

blueprint = Blueprint("notes", __name__)
_LONGEST = 500


def init_app(app: Flask) -> None:
    app.extensions["notes"] = {}


@blueprint.get("/notes")
@jwt_required
def read() -> dict[str, Any]:
    name = g.payload["sub"]
    return {"name": name, "notes": current_app.extensions["notes"].get(name, [])}


@blueprint.post("/notes")
@jwt_required
def write() -> tuple[dict[str, Any], int]:
    text = request.form.get("text", "").strip()
    if not 0 < len(text) <= _LONGEST:
        abort(400, f"A note has 1 to {_LONGEST} characters.")
    current_app.extensions["notes"].setdefault(g.payload["sub"], []).append(text)
    return {"text": text}, 201
