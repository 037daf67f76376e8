"""A JSON API behind tokens: log in, call, refresh, log out. The README shows the calls."""

from flask import Flask, abort, g, request
from werkzeug.security import check_password_hash, generate_password_hash

from flask_jam import JWTExtension, jwt_required, public

jwt = JWTExtension()
USERS = {"alice": generate_password_hash("wonderland")}
# Checked for unknown names, so that they take as long as known ones.
NOBODY = generate_password_hash("nobody")


def create_app() -> Flask:
    app = Flask(__name__)
    jwt.init_app(app)

    @app.post("/login")
    def login():
        name, password = request.form.get("name", ""), request.form.get("password", "")
        if not check_password_hash(USERS.get(name, NOBODY), password) or name not in USERS:
            abort(401, "Wrong name or password.")
        return jwt.login(name)

    @app.get("/me")
    @jwt_required
    def me():
        return {"hello": g.payload["sub"]}

    @app.post("/refresh")
    def refresh():
        return jwt.refresh()

    @app.post("/logout")
    @public  # an expired token still ends its login
    def logout():
        jwt.logout()
        return "", 204

    return app
