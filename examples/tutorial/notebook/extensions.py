from flask import current_app
from flask_jam import ApiKeyExtension, JWTExtension, SessionExtension

from .models import User, db

session = SessionExtension(cookie_name="notebook_session")
jwt = JWTExtension()
api_keys = ApiKeyExtension()


@session.user_loader
def load_user(auth):
    user = db.session.get(User, int(auth.subject))
    if user is None or not user.is_active:
        return None
    auth.payload["roles"] = [user.role]
    return user


def get_jam():
    return current_app.extensions["jam"]
