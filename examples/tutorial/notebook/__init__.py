from flask import Flask

from . import account, admin, api, auth, commands, health, keys, reset, site
from .extensions import api_keys, jwt, session
from .models import db


def create_app(config=None):
    app = Flask(__name__)
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI="sqlite:///notebook.db",
        MAX_CONTENT_LENGTH=64 * 1024,
        JAM_LOGIN_VIEW="auth.login",
        SITE_URL="http://localhost:5000",
        MAIL_SERVER=None,
        MAIL_FROM="notebook@example.org",
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config or {})
    db.init_app(app)
    for extension in (session, jwt, api_keys):
        extension.init_app(app)
    for part in (commands, auth, site, api, admin, keys, reset, account, health):
        app.register_blueprint(part.blueprint)
    return app
