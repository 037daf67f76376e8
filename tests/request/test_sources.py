"""``sources``: a guard that takes a credential from one place counts another as missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, g

from flask_jam import (
    ConfigError,
    Guard,
    Jam,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    current_auth,
    jwt_required,
    protect,
    public,
    session_required,
    signals,
)
from flask_jam.audit import routes
from flask_jam.schemes import Accepted, Credential, Scheme

from ..cases import each_case
from ..conftest import SECRET, Clock, bearer

HEADER, COOKIE = jwt_required(sources={"header"}), jwt_required(sources={"cookie"})
CROSS = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}


def said() -> str:
    auth = current_auth()
    return f"{auth.scheme}:{auth.source}:{auth.subject}" if auth else "nobody"


def build(jam: Jam, **guards: Guard) -> Flask:
    """An app that reads tokens from a header and a cookie, with a route for each guard."""
    app = Flask("sources")
    JWTExtension(jam, app, cookie_name="token")
    SessionExtension(jam, app)
    for name, guard in guards.items():
        app.add_url_rule(f"/{name}", name, guard(said), methods=["GET", "POST"])
    return app


@pytest.fixture
def app(jam: Jam) -> Flask:
    return build(
        jam,
        header=HEADER,
        cookie=COOKIE,
        any=jwt_required(sources={"header", "cookie"}),
        optional=jwt_required(sources={"header"}, optional=True),
        either=HEADER | session_required,
    )


def token_of(jam: Jam, subject: str = "ann") -> str:
    return str(jam.issue_tokens(subject)["access_token"])


@each_case(
    ("path", "source", "status"),
    [
        ("/header", "header", 200), ("/header", "cookie", 401),
        ("/cookie", "cookie", 200), ("/cookie", "header", 401),
        ("/any", "header", 200), ("/any", "cookie", 200),
        ("/either", "header", 200), ("/either", "cookie", 401),
    ],
)  # fmt: skip
def test_a_credential_from_elsewhere_is_missing(
    app: Flask, jam: Jam, path: str, source: str, status: int
) -> None:
    client = app.test_client()
    headers = {}
    if source == "header":
        headers = bearer(token_of(jam))
    else:
        client.set_cookie("token", token_of(jam))
    answer = client.get(path, headers=headers)
    assert answer.status_code == status
    if status == 200:
        assert answer.text == f"jwt:{source}:ann"
    else:
        assert answer.json["error"] == "missing_credential"
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
        assert "Set-Cookie" not in answer.headers


def test_sources_do_not_change_where_a_token_is_looked_for(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    client.set_cookie("token", token_of(jam, "ann"))
    both = bearer(token_of(jam, "bob"))
    assert client.get("/header", headers=both).text == "jwt:header:bob"
    # The header beats the cookie, whatever the guard takes.
    assert client.get("/cookie", headers=both).json["error"] == "missing_credential"
    assert client.get("/cookie", headers=bearer("bad")).json["error"] == "missing_credential"


@each_case("cookie", ["bad", "a.b.c", "expired", "revoked", "two owners"])
def test_a_bad_cookie_is_missing_to_a_guard_of_headers(
    app: Flask, jam: Jam, clock: Clock, cookie: str
) -> None:
    client, token = app.test_client(use_cookies=False), token_of(jam)
    sent = {"Cookie": f"token={cookie}"}
    if cookie == "expired":
        sent = {"Cookie": f"token={token}"}
        clock.tick(901)
    elif cookie == "revoked":
        sent = {"Cookie": f"token={token}"}
        jam.revoke_token(token)
    elif cookie == "two owners":
        sent = {"Cookie": f"token={token}; token={token_of(jam, 'bob')}"}
    for path, status in (("/header", 401), ("/optional", 200)):
        answer = client.get(path, headers={**sent, "Accept": "text/html"})
        assert answer.status_code == status
        assert "Set-Cookie" not in answer.headers
    assert client.get("/any", headers=sent).status_code in (400, 401)
    assert client.get("/cookie", headers=sent).json["error"] != "missing_credential"


def test_a_bad_header_is_refused_by_a_guard_of_headers(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    client.set_cookie("token", token_of(jam))
    for path in ("/header", "/optional", "/either"):
        assert client.get(path, headers=bearer("a.b.c")).json["error"] == "invalid_token"
        assert client.get(path, headers=bearer("a b")).status_code == 400


def test_a_cross_site_cookie_is_missing_to_a_guard_of_headers(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    client.set_cookie("token", token_of(jam))
    assert client.post("/cookie", headers=CROSS).json["error"] == "csrf"
    assert client.post("/header", headers=CROSS).json["error"] == "missing_credential"


def test_an_optional_guard_of_headers_does_not_see_a_cookie(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    client.set_cookie("token", token_of(jam))
    assert client.get("/optional").text == "nobody"
    assert client.get("/optional", headers=bearer(token_of(jam))).text == "jwt:header:ann"


def test_a_refused_source_leaves_the_other_scheme_to_count(app: Flask, jam: Jam) -> None:
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("ann", {}))
    client.set_cookie("token", token_of(jam))
    assert client.get("/either").text == "session:cookie:ann"


def test_rejected_says_missing_of_a_credential_from_elsewhere(app: Flask, jam: Jam) -> None:
    client, seen = app.test_client(), []
    client.set_cookie("token", token_of(jam))

    def note(_sender: Flask, **what: Any) -> None:
        seen.append((what["reason"].value, what["source"], what["subject"], what["fingerprint"]))

    with signals.rejected.connected_to(note, app):
        client.get("/header")
    assert seen == [("missing", None, None, None)]


def test_other_conditions_hold_beside_sources(jam: Jam) -> None:
    app = build(jam, read=jwt_required(sources={"header"}, scopes={"read"}))
    client = app.test_client()
    read = jam.issue_tokens("ann", scopes={"read"})["access_token"]
    client.set_cookie("token", read)
    assert client.get("/read").status_code == 401
    assert client.get("/read", headers=bearer(token_of(jam))).status_code == 403
    assert client.get("/read", headers=bearer(read)).status_code == 200


def test_a_protected_app_takes_only_the_sources_of_its_guard(jam: Jam) -> None:
    app = build(jam)
    protect(app, HEADER)
    app.add_url_rule("/in", "in", said)
    app.add_url_rule("/open", "open", public(lambda: said()))
    client = app.test_client()
    client.set_cookie("token", token_of(jam))
    assert client.get("/in").status_code == 401
    assert client.get("/open").text == "jwt:cookie:ann"
    assert client.get("/in", headers=bearer(token_of(jam))).status_code == 200


def test_a_stacked_guard_of_another_source_lets_nobody_in(jam: Jam) -> None:
    app = build(jam)
    app.add_url_rule("/never", "never", HEADER(COOKIE(said)))
    client = app.test_client()
    client.set_cookie("token", token_of(jam))
    for headers in ({}, bearer(token_of(jam))):
        assert client.get("/never", headers=headers).status_code == 401


def test_a_login_within_the_request_came_from_no_header(jam: Jam) -> None:
    app = build(jam)
    jwt = app.extensions["flask_jam"].owners["jwt"]

    @app.get("/login")
    def login() -> str:
        jwt.login("ann")
        HEADER.enforce()
        return "in"

    assert app.test_client().get("/login").status_code == 401


# --- a session by header --------------------------------------------------------------


def test_a_session_has_sources_too(jam: Jam) -> None:
    app = Flask("sessions")
    SessionExtension(jam, app, header_name="Authorization", cookie_name="sessionId")
    app.add_url_rule("/", "view", session_required(sources={"cookie"})(lambda: g.payload))
    client, session = app.test_client(), jam.create_session("ann", {"n": 1})
    assert client.get("/", headers=bearer(session)).status_code == 401
    client.set_cookie("sessionId", session)
    assert client.get("/").json == {"n": 1}


# --- what is wrong at the start -------------------------------------------------------


@each_case(
    ("sources", "sentence"),
    [
        ({"heder"}, "neither header nor cookie; did you mean header"),
        ({"body"}, "neither header nor cookie"), ({"header", "query"}, "'query' is neither"),
        (set(), "the set is empty"), ("header", "write a set of names, such as sources="),
        (None, "write a set of names"), ({1}, "every name must be a non-empty string"),
    ],
)  # fmt: skip
@each_case("guard", [jwt_required, session_required])
def test_sources_are_header_or_cookie(guard: Guard, sources: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        guard(sources=sources)


@each_case(
    ("options", "source"),
    [({}, "cookie"), ({"header_name": None, "cookie_name": "token"}, "header")],
)
def test_a_source_that_nothing_reads_is_found_at_the_start(
    jam: Jam, options: dict[str, Any], source: str
) -> None:
    app = Flask("never")
    JWTExtension(jam, app, **options)
    app.add_url_rule("/", "view", jwt_required(sources={source})(said))
    app.testing = True
    with pytest.raises(ConfigError, match=f"lets no caller in: JWTExtension has no {source}_name"):
        app.test_client().get("/")


def test_a_scheme_of_your_own_has_sources_of_its_own(jam: Jam) -> None:
    class InQuery(Scheme):
        name = "query"

        def find(self, request: Any) -> Credential:
            return Credential("query", request.args.get("from", "query"), "x")

        def authenticate(self, credential: Credential, request: Any) -> Accepted:
            return Accepted("query", credential.source, "ann", {})

    app = Flask("own")
    extension = SchemeExtension(InQuery(), jam, app)
    app.add_url_rule("/", "view", extension.required(sources={"query"})(said))
    client = app.test_client()
    assert client.get("/").text == "query:query:ann"
    assert client.get("/?from=body").status_code == 401


def test_repr_and_audit_show_the_sources(app: Flask) -> None:
    assert repr(HEADER) == "jwt_required(sources={'header'})"
    guards = {route.rule: route.guard for route in routes(app)}
    assert guards["/any"] == "jwt_required(sources={'cookie', 'header'})"
    assert guards["/either"] == "jwt_required(sources={'header'}) | session_required"


def test_a_store_that_is_down_does_not_matter_for_another_source(
    make_jam: Callable[..., Jam], clock: Clock
) -> None:
    from flask_jam import StoreUnavailable
    from flask_jam.stores.memory import MemoryStore

    class Down(MemoryStore):
        is_down = False

        def marks(self, *args: Any, **kwargs: Any) -> Any:
            if self.is_down:
                raise StoreUnavailable
            return super().marks(*args, **kwargs)

    store = Down()
    jam = Jam({"jwt": {"secret_key": SECRET}}, store=store, clock=clock)
    client = build(jam, header=HEADER, cookie=COOKIE).test_client()
    client.set_cookie("token", token_of(jam))
    store.is_down = True
    assert client.get("/cookie").status_code == 503
    assert client.get("/header").status_code == 401
    assert client.get("/header", headers=bearer(token_of(jam))).status_code == 503
