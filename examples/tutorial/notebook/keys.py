from flask import Blueprint, redirect, render_template, request, url_for
from flask_jam import protect, session_required

from .extensions import api_keys

blueprint = Blueprint("keys", __name__, url_prefix="/keys")
protect(blueprint, session_required)
recent = session_required(max_age=300)


@blueprint.get("/")
def keys():
    return render_template("keys.html", keys=api_keys.list())


@blueprint.get("/new")
@recent
def new():
    return render_template("new_key.html")


@blueprint.post("/new")
@recent
def create():
    name = request.form.get("name", "").strip()
    if not (0 < len(name) <= 60 and name.isprintable()):
        return render_template("new_key.html", is_wrong=True), 422
    key, _ = api_keys.create(name=name, scopes={"notes:read"}, expires_in=90 * 86400)
    return render_template("new_key.html", key=key)


@blueprint.post("/<handle>/revoke")
def revoke(handle):
    api_keys.revoke(handle)
    return redirect(url_for("keys.keys"), 303)
