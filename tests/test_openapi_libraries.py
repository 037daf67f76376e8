"""OpenAPI: apispec and flask-smorest take the descriptions, and a validator accepts them."""

from __future__ import annotations

from typing import Any

import pytest
from apispec import APISpec, BasePlugin
from flask import Flask
from flask.views import MethodView
from flask_smorest import Api
from flask_smorest import Blueprint as DocumentedBlueprint
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from flask_jam import Jam, jwt_required, public, session_required
from flask_jam.openapi import security_for, security_schemes

from .conftest import new_app

SESSION = {"session_cookie": []}


@pytest.fixture
def app(jam: Jam) -> Flask:
    return new_app(jam)


def view() -> str:
    return "in"


class FromGuards(BasePlugin):
    """Puts what the guards say into every operation of a route."""

    def operation_helper(
        self, path: Any = None, operations: Any = None, **kwargs: Any
    ) -> None:  # fmt: skip
        for method, operation in (operations or {}).items():
            security = security_for(kwargs["rule"].endpoint, method)
            if security is not None:
                operation["security"] = security


def problems(description: Any) -> list[str]:
    found: Any = OpenAPIV31SpecValidator(description).iter_errors()
    return [str(error) for error in found if isinstance(error, OpenAPIValidationError)]


ANSWERS = {"responses": {"200": {"description": "in"}}}


def test_apispec_takes_them(app: Flask) -> None:
    guarded = (jwt_required(scopes={"a"}, optional=True) | session_required)(view)
    app.add_url_rule("/guarded", "guarded", guarded)
    app.add_url_rule("/public", "public", public(lambda: "in"))
    spec = APISpec("Shop", "1", "3.1.0")
    for name, scheme in security_schemes(app).items():
        spec.components.security_scheme(name, scheme)
    for path in ("guarded", "public"):
        operation = {**ANSWERS, "security": security_for(path, app=app)}
        spec.path(f"/{path}", operations={"get": operation})
    description = spec.to_dict()
    assert problems(description) == []
    assert description["components"]["securitySchemes"] == security_schemes(app)
    assert description["paths"]["/guarded"]["get"]["security"] == [
        {"jwt_header": ["a"]}, SESSION, {},
    ]  # fmt: skip
    assert description["paths"]["/public"]["get"]["security"] == []


def test_flask_smorest_takes_them(app: Flask) -> None:
    app.config.update(API_TITLE="Shop", API_VERSION="1", OPENAPI_VERSION="3.1.0")
    pets = DocumentedBlueprint("pets", "pets", url_prefix="/pets")

    @pets.route("/")
    class Pets(MethodView):
        @pets.response(200)
        def get(self) -> None:
            """All pets."""

        @jwt_required(scopes={"pets:write"})
        @pets.response(201)
        def post(self) -> None:
            """One more."""

    @pets.route("/count")
    @session_required
    @pets.response(200)
    def count() -> None:
        """How many."""

    api = Api(app, spec_kwargs={"extra_plugins": [FromGuards()]})
    for name, scheme in security_schemes(app).items():
        api.spec.components.security_scheme(name, scheme)
    with app.app_context():
        api.register_blueprint(pets)
        description = api.spec.to_dict()
    assert problems(description) == []
    assert "security" not in description["paths"]["/pets/"]["get"]
    assert description["paths"]["/pets/"]["post"]["security"] == [{"jwt_header": ["pets:write"]}]
    assert description["paths"]["/pets/count"]["get"]["security"] == [SESSION]


def test_the_validator_would_find_a_mistake() -> None:
    description = {
        "openapi": "3.1.0", "info": {"title": "Shop", "version": "1"}, "paths": {},
        "components": {"securitySchemes": {"jwt": {"type": "http"}}},
    }  # fmt: skip
    assert problems(description)
