"""The port for schemes: what an author may get wrong, and what a broken scheme can never do."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from flask import Flask

from flask_jam import ConfigError, Jam, SchemeExtension, TokenError, current_auth
from flask_jam.errors import Reason, StoreUnavailable
from flask_jam.schemes import MALFORMED, MISSING, Accepted, Credential, Scheme


class HeaderScheme(Scheme):
    """Accepts ``X-Key: <subject>``, and fails on request."""

    name = "key"
    vary = ("X-Key",)
    found: Any = None
    result: Any = None

    def find(self, request: Any) -> Any:
        if self.found is not None:
            return self.found
        value = request.headers.get("X-Key")
        return MISSING if value is None else Credential("key", "header", value)

    def authenticate(self, credential: Credential, request: Any) -> Any:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result or Accepted("key", credential.source, credential.value, {})


def ask(jam: Jam, scheme: Scheme, **options: Any) -> Any:
    app = Flask("port")
    required = SchemeExtension(scheme, jam, app).required
    app.add_url_rule("/", "view", required(lambda: current_auth().subject))  # type: ignore[union-attr]
    app.testing = options.pop("testing", False)
    return app.test_client().get("/", headers={"X-Key": "ann"}, **options)


def test_accepted_needs_no_auth_time() -> None:
    assert Accepted("key", "header", "ann", {}).auth_time is None


def test_a_scheme_of_an_app_lets_in(jam: Jam) -> None:
    assert ask(jam, HeaderScheme()).text == "ann"


def test_its_guard_reads_scopes_and_roles_of_the_payload(jam: Jam) -> None:
    scheme = HeaderScheme()
    scheme.result = Accepted("key", "header", "ann", {"scope": "read", "roles": ["admin"]})
    app = Flask("scoped")
    required = SchemeExtension(scheme, jam, app).required
    expected: dict[str, int] = {}
    for path, conditions, status in (
        ("/read", {"scopes": {"read"}}, 200), ("/write", {"scopes": {"write"}}, 403),
        ("/admin", {"roles": {"admin"}}, 200), ("/editor", {"roles": {"editor"}}, 403),
    ):  # fmt: skip
        app.add_url_rule(path, path, required(**conditions)(lambda: "in"))
        expected[path] = status
    client = app.test_client()
    for path, status in expected.items():
        assert client.get(path, headers={"X-Key": "ann"}).status_code == status


def test_find_is_called_once_and_may_raise_a_reason(jam: Jam) -> None:
    calls: list[int] = []

    class Counting(HeaderScheme):
        def find(self, request: Any) -> Any:
            calls.append(1)
            return super().find(request)

    app = Flask("counting")
    required = SchemeExtension(Counting(), jam, app).required
    app.add_url_rule("/", "view", required(roles={"admin"})(lambda: "in"))
    assert app.test_client().get("/", headers={"X-Key": "ann"}).status_code == 403
    assert len(calls) == 1

    class Raising(HeaderScheme):
        def find(self, request: Any) -> Any:
            raise TokenError(Reason.MALFORMED)

    assert ask(jam, Raising()).status_code == 400


def test_malformed_is_400_and_missing_401(jam: Jam) -> None:
    for found, status in ((MALFORMED, 400), (MISSING, 401)):
        scheme = HeaderScheme()
        scheme.found = found
        assert ask(jam, scheme).status_code == status


def test_a_reason_becomes_its_status(jam: Jam) -> None:
    for error, status in (
        (TokenError(Reason.EXPIRED), 401),
        (TokenError(Reason.MALFORMED), 400),
        (StoreUnavailable(), 503),
    ):
        scheme = HeaderScheme()
        scheme.result = error
        assert ask(jam, scheme).status_code == status


def test_any_other_exception_is_logged_without_its_text_and_propagates(
    jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    scheme = HeaderScheme()
    scheme.result = RuntimeError("the secret is 4711")
    with caplog.at_level(logging.ERROR, "flask_jam"), pytest.raises(RuntimeError):
        ask(jam, scheme, testing=True)
    (record,) = [each for each in caplog.records if each.name.startswith("flask_jam")]
    assert "RuntimeError" in record.getMessage()
    assert "4711" not in record.getMessage()
    assert ask(jam, scheme).status_code == 500


def test_a_wrong_result_never_lets_in(jam: Jam) -> None:
    wrong = ("ann", True, {"sub": "ann"}, Accepted("jwt", "header", "ann", {}),
             Accepted("key", "cookie", "ann", {}), Accepted("key", "header", 5, {}),
             Accepted("key", "header", "ann", "text"))  # type: ignore[arg-type]  # fmt: skip
    for result in wrong:
        scheme = HeaderScheme()
        scheme.result = result
        with pytest.raises(ConfigError, match="HeaderScheme.authenticate"):
            ask(jam, scheme, testing=True)
    for found in ("ann", True, ("key", "header", "ann"), Credential("jwt", "header", "ann")):
        scheme = HeaderScheme()
        scheme.found = found
        with pytest.raises(ConfigError, match="HeaderScheme.find"):
            ask(jam, scheme, testing=True)


def test_what_is_no_scheme_is_refused_at_start(jam: Jam) -> None:
    for scheme in (HeaderScheme, object(), "key"):
        with pytest.raises(ConfigError, match="SchemeExtension takes"):
            SchemeExtension(scheme, jam)  # type: ignore[arg-type]
    for name in ("", "Key", "jwt", "session", "a b", 3):
        bad = HeaderScheme()
        bad.name = name  # type: ignore[assignment]
        with pytest.raises(ConfigError, match="name must be"):
            SchemeExtension(bad, jam)
    bad = HeaderScheme()
    bad.vary = "X-Key"  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="vary must be"):
        SchemeExtension(bad, jam)


def test_two_schemes_of_one_name_on_an_app_are_refused(jam: Jam) -> None:
    app = Flask("two")
    first = SchemeExtension(HeaderScheme(), jam, app)
    first.init_app(app)
    with pytest.raises(RuntimeError, match="key"):
        SchemeExtension(HeaderScheme(), jam, app)


def test_an_ambient_credential_of_another_site_is_refused(jam: Jam) -> None:
    scheme = HeaderScheme()
    scheme.ambient = True
    app = Flask("ambient")
    required = SchemeExtension(scheme, jam, app).required
    app.add_url_rule("/", "view", required(lambda: "in"), methods=["GET", "POST"])
    client = app.test_client()
    headers = {"X-Key": "ann", "Sec-Fetch-Site": "cross-site"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.post("/", headers=headers).status_code == 403
    assert client.post("/", headers={"X-Key": "ann"}).status_code == 200
