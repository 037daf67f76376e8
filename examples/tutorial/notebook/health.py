from flask import Blueprint
from flask_jam import public

from .extensions import get_jam

blueprint = Blueprint("health", __name__)


@blueprint.get("/ready")
@public
def ready():
    return "", 204 if get_jam().ready() else 503
