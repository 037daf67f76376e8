"""Policies: what lets in, what never does, and what is said of it to whom."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
from flask import Flask, g, request
from werkzeug.exceptions import Forbidden, Unauthorized

import flask_jam.policies
from flask_jam import (
    ConfigError,
    Jam,
    JamExtension,
    JWTExtension,
    Reason,
    SessionExtension,
    StoreUnavailable,
    current_auth,
    jwt_required,
    public,
    session_required,
)
from flask_jam.policies import Policy, authorize, authorized, claim, policy, role, scope

from .cases import each_case
from .conftest import SECRET, Clock, bearer

WRITE, READ = scope("articles:write"), scope("articles:read")
ADMIN = role("admin")


@dataclass
class Article:
    author: str


@policy
def owner(payload: dict[str, Any], article: Article) -> bool:
    return article.author == payload["sub"]


@policy
def yes(payload: dict[str, Any]) -> bool:
    return True


@policy
def no(payload: dict[str, Any]) -> bool:
    return False


@policy
def broken(payload: dict[str, Any]) -> bool:
    raise LookupError("the number of alice's card is 4111")


def saying(value: Any) -> Policy:
    @policy
    def said(payload: dict[str, Any]) -> Any:
        return value

    return said


# --- what lets in ------------------------------------------------------------------------


@each_case("value", [1, 1.0, "yes", [True], object(), None, 0, "", []], ids=repr)
def test_what_is_neither_true_nor_false_denies_also_when_turned_round(
    value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert not saying(value).allows({})
    assert not (~saying(value)).allows({})
    assert not (~~saying(value)).allows({})
    assert f"returned neither True nor False but {type(value).__name__}" in caplog.text


def test_true_lets_in_and_false_lets_in_when_turned_round() -> None:
    assert (yes.allows({}), no.allows({}), (~yes).allows({}), (~no).allows({})) == (
        True, False, False, True,
    )  # fmt: skip
    assert ~~yes == yes


def test_an_error_denies_also_when_turned_round_and_its_text_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert not broken.allows({})
    assert not (~broken).allows({})
    assert caplog.text.count("policy broken raised LookupError") == 2
    assert "4111" not in caplog.text


def table(one: str, other: str) -> tuple[str, str]:
    """Kleene's: what it is for all that ``?`` may stand for, or ``?`` where that differs."""
    values = {"t": [True], "f": [False], "?": [True, False]}
    pairs = list(itertools.product(values[one], values[other]))
    both, either = {a and b for a, b in pairs}, {a or b for a, b in pairs}
    return tuple("?" if len(found) == 2 else "ft"[found.pop()] for found in (both, either))  # type: ignore[return-value]


@each_case(("one", "other"), list(itertools.product("tf?", repeat=2)))
def test_and_or_not_say_yes_only_where_no_doubt_could_change_it(one: str, other: str) -> None:
    made = {"t": yes, "f": no, "?": broken}
    a, b = made[one], made[other]
    both, either = table(one, other)
    assert (a & b).allows({}) is (both == "t")
    assert (a | b).allows({}) is (either == "t")
    assert (~(a & b)).allows({}) is (both == "f")
    assert (~(a | b)).allows({}) is (either == "f")
    assert (~~(a & b)).allows({}) is (both == "t")


FACTS = [
    (WRITE, {"scope": "articles:read articles:write"}, True),
    (WRITE, {"scope": "articles:read"}, False),
    (WRITE, {"scope": ""}, False),
    (WRITE, {}, False),
    (WRITE, {"scope": "articles:writer"}, False),
    (WRITE, {"scope": ["articles:write"]}, None),
    (WRITE, {"scope": "articles:read  articles:write"}, None),
    (WRITE, {"scope": None}, None),
    (ADMIN, {"roles": ["reader", "admin"]}, True),
    (ADMIN, {"roles": ["reader"]}, False),
    (ADMIN, {}, False),
    (ADMIN, {"roles": "admin"}, None),
    (ADMIN, {"roles": ["admin", 1]}, None),
    (ADMIN, {"roles": None}, None),
    (claim("tenant", "acme"), {"tenant": "acme"}, True),
    (claim("tenant", "acme"), {"tenant": "ACME"}, False),
    (claim("tenant", "acme"), {}, False),
    (claim("tenant", "acme"), {"tenant": ["acme"]}, None),
    (claim("tenant", "acme"), {"tenant": None}, None),
    (claim("beta", True), {"beta": True}, True),
    (claim("beta", True), {"beta": 1}, None),
    (claim("beta", True), {"beta": "true"}, None),
    (claim("level", 1), {"level": True}, None),
    (claim("level", 1), {"level": 1.0}, None),
    (claim("level", 1), {"level": 2}, False),
    (claim("ratio", 0.5), {"ratio": 0.5}, True),
]


@each_case(("fact", "payload", "holds"), FACTS)
def test_a_claim_of_another_form_denies_also_when_turned_round(
    fact: Policy, payload: dict[str, Any], holds: bool | None
) -> None:
    assert fact.allows(payload) is (holds is True)
    assert (~fact).allows(payload) is (holds is False)


@each_case("each", [yes, ~no, WRITE, ~WRITE, ~ADMIN, ~claim("a", "b"), yes | WRITE])
def test_nobody_is_never_let_in(each: Policy) -> None:
    assert not each.allows(None)
    assert each.unmet(None)


def test_nothing_is_remembered_of_a_decision() -> None:
    allowed: set[str] = set()

    @policy
    def known(payload: dict[str, Any]) -> bool:
        return payload["sub"] in allowed

    payload = {"sub": "alice"}
    assert not known.allows(payload)
    allowed.add("alice")
    assert known.allows(payload)
    allowed.clear()
    assert not known.allows(payload)


def test_an_abort_inside_a_predicate_is_an_error_and_denies() -> None:
    @policy
    def gone(payload: dict[str, Any]) -> bool:
        raise Forbidden

    assert not (~gone).allows({})


# --- a value -----------------------------------------------------------------------------


@each_case(
    ("made", "shown"),
    [
        (WRITE, "scope('articles:write')"),
        (ADMIN, "role('admin')"),
        (claim("beta", True), "claim('beta', True)"),
        (owner, "owner"),
        (~ADMIN, "~role('admin')"),
        (yes & no & broken, "yes & no & broken"),
        (WRITE & (ADMIN | owner), "scope('articles:write') & (role('admin') | owner)"),
        (~(yes & (no | broken)), "~yes | (~no & ~broken)"),
    ],
)
def test_it_shows_itself_as_it_was_written(made: Policy, shown: str) -> None:
    assert repr(made) == str(made) == shown


def test_equal_ones_are_one_in_a_set() -> None:
    assert {scope("a") & role("b"), scope("a") & role("b")} == {scope("a") & role("b")}
    assert len({scope("a"), role("a"), ~scope("a"), claim("a", "a"), scope("a") | role("a")}) == 5


def test_claims_that_python_takes_for_equal_are_two() -> None:
    assert len({claim("x", True), claim("x", 1), claim("x", 1.0)}) == 3


def test_functions_of_one_name_are_two_policies() -> None:
    assert saying(True) != saying(True)


def test_it_cannot_be_changed() -> None:
    for each in (WRITE, WRITE & ADMIN):
        with pytest.raises(FrozenInstanceError):
            each.needs_resource = True


def test_the_words_and_or_and_not_are_refused() -> None:
    acts: list[Callable[[], Any]] = [
        lambda: WRITE and ADMIN, lambda: WRITE or ADMIN, lambda: not WRITE,
        lambda: bool(WRITE | ADMIN),
    ]  # fmt: skip
    for act in acts:
        with pytest.raises(ConfigError, match="join policies with &"):
            act()


def test_there_is_no_policy_of_nothing() -> None:
    assert not {"any_of", "all_of", "not_"} & set(vars(flask_jam.policies))
    for other in (jwt_required, None, True, "admin", lambda payload: True):
        with pytest.raises(TypeError):
            WRITE & other  # type: ignore[operator]
        with pytest.raises(TypeError):
            WRITE | other  # type: ignore[operator]


# --- wrong uses --------------------------------------------------------------------------


@each_case(
    "make",
    [
        lambda: scope("a b"), lambda: scope(""), lambda: scope({"a"}),  # type: ignore[arg-type]
        lambda: role(""), lambda: role(1),  # type: ignore[arg-type]
        lambda: claim("", "x"), lambda: claim("x", None), lambda: claim("x", ["a"]),  # type: ignore[arg-type]
        lambda: claim("x", float("nan")), lambda: claim("x", float("inf")),
        lambda: claim("x", Reason.DENIED),
    ],
)  # fmt: skip
def test_what_could_never_hold_is_refused_at_once(make: Callable[[], Policy]) -> None:
    with pytest.raises(ConfigError):
        make()


async def later(payload: dict[str, Any]) -> bool:
    return True


def three(payload: Any, article: Any, more: Any) -> bool:
    return True


def with_default(payload: Any, article: Any = None) -> bool:
    return True


def with_keyword(payload: Any, *, article: Any) -> bool:
    return True


def with_any(*args: Any) -> bool:
    return True


def with_none() -> bool:
    return True


@each_case(
    "wrong",
    [later, three, with_default, with_keyword, with_any, with_none, lambda payload: True,
     functools.partial(three, 1), "admin", None, yes],
)  # fmt: skip
def test_a_policy_is_a_plain_function_with_a_name_of_one_or_two_arguments(wrong: Any) -> None:
    with pytest.raises(ConfigError):
        policy(wrong)


# --- resources ---------------------------------------------------------------------------


def test_a_policy_of_a_thing_decides_on_that_thing() -> None:
    alice = {"sub": "alice"}
    articles = [Article("alice"), Article("bob"), Article("alice")]
    assert [a for a in articles if owner.allows(alice, a)] == articles[::2]
    assert [a for a in articles if (~owner).allows(alice, a)] == articles[1:2]


@each_case("each", [owner, ~owner, WRITE & owner, yes | owner])
def test_without_the_thing_it_is_a_mistake_of_the_developer(each: Policy) -> None:
    for ask in (each.allows, each.unmet, each):
        with pytest.raises(ConfigError, match=r"authorize\(policy, resource\)"):
            ask({"sub": "alice"})


def test_a_thing_that_is_not_there_is_denied() -> None:
    assert owner.unmet({"sub": "alice"}, None) == ("owner",)


# --- why ---------------------------------------------------------------------------------


@each_case(
    ("made", "unmet"),
    [
        (yes, ()),
        (no, ("no",)),
        (WRITE & ADMIN & yes, ("scope('articles:write')",)),
        (WRITE & role("x"), ("scope('articles:write')", "role('x')")),
        (WRITE | role("x"), ("scope('articles:write')", "role('x')")),
        (ADMIN | WRITE, ()),
        (WRITE & (ADMIN | role("x")), ("scope('articles:write')",)),
        (~(ADMIN & yes), ("~role('admin')", "~yes")),
    ],
)
def test_unmet_names_what_stood_in_the_way(made: Policy, unmet: tuple[str, ...]) -> None:
    assert made.unmet({"roles": ["admin"]}) == unmet


@each_case("turned", [False, True])
def test_no_code_runs_where_the_payload_has_decided(turned: bool) -> None:
    asked = []

    @policy
    def costly(payload: dict[str, Any]) -> bool:
        asked.append(payload)
        return True

    def ordered(one: Policy, other: Policy) -> tuple[Policy, Policy]:
        return (other, one) if turned else (one, other)

    a, b = ordered(WRITE, costly)
    assert (a & b).unmet({}) == ("scope('articles:write')",)
    assert (a | b).allows({"scope": "articles:write"})
    assert asked == []
    assert not (a & b).unmet({"scope": "articles:write"})
    assert len(asked) == 1


# --- in a request ------------------------------------------------------------------------


@pytest.fixture
def app(jam: Jam) -> Flask:
    app = Flask("with_policies")
    JWTExtension(jam, app)
    SessionExtension(jam, app)
    return app


def token_of(jam: Jam, **claims: Any) -> str:
    return str(jam.issue_tokens("alice", **claims)["access_token"])


Ask = Callable[..., Any]


@pytest.fixture
def ask(app: Flask, jam: Jam) -> Ask:
    """What a view answers that asks for a policy, guarded by ``jwt_required``."""

    def ask(each: Policy, *resource: Any, headers: Any = None, **claims: Any) -> Any:
        def view() -> str:
            authorize(each, *resource)
            return "in"

        app.add_url_rule("/", "view", jwt_required(view))
        return app.test_client().get("/", headers=headers or bearer(token_of(jam, **claims)))

    return ask


def test_authorize_lets_go_on(ask: Ask) -> None:
    assert ask(WRITE & (ADMIN | owner), Article("alice"), scopes={"articles:write"}).text == "in"


BOTH_SCOPES = "articles:read articles:write"


@each_case(
    ("each", "reason", "scopes"),
    [
        (WRITE, Reason.INSUFFICIENT_SCOPE, "articles:write"),
        (READ & WRITE, Reason.INSUFFICIENT_SCOPE, BOTH_SCOPES),
        (READ & WRITE & role("x"), Reason.INSUFFICIENT_SCOPE, BOTH_SCOPES),
        (WRITE | scope("all"), Reason.INSUFFICIENT_SCOPE, "articles:write"),
        (WRITE & (READ | scope("all")), Reason.INSUFFICIENT_SCOPE, "articles:write articles:read"),
        (WRITE & (role("x") | READ), Reason.INSUFFICIENT_SCOPE, "articles:write"),
        (WRITE & WRITE & broken, Reason.INSUFFICIENT_SCOPE, "articles:write"),
        (ADMIN, Reason.INSUFFICIENT_ROLE, None),
        (ADMIN | role("y"), Reason.INSUFFICIENT_ROLE, None),
        (ADMIN & READ & no, Reason.INSUFFICIENT_ROLE, None),
        (ADMIN & WRITE, Reason.DENIED, None),
        (ADMIN | WRITE, Reason.DENIED, None),
        (WRITE | no, Reason.DENIED, None),
        (no, Reason.DENIED, None),
        (broken, Reason.DENIED, None),
        (claim("tenant", "acme"), Reason.DENIED, None),
        # A token with fewer scopes or roles is nothing to send a client for.
        (~READ, Reason.DENIED, None),
        (~role("x"), Reason.DENIED, None),
        (~READ | WRITE, Reason.DENIED, None),
    ],
)
def test_authorize_refuses_as_a_guard_does(
    ask: Ask, event_log: list[Any], each: Policy, reason: Reason, scopes: str | None
) -> None:
    token = {"scopes": {"articles:read"}, "roles": {"x"}}
    answer = ask(each, **token)
    assert answer.status_code == 403
    shown = [f'Bearer realm="api", error="insufficient_scope", scope="{scopes}"'] if scopes else []
    assert answer.headers.getlist("WWW-Authenticate") == shown
    [(name, what)] = [event for event in event_log if event[0] == "rejected"]
    assert (name, what["reason"], what["scheme"], what["source"], what["endpoint"]) == (
        "rejected", reason, "jwt", "header", "view",
    )  # fmt: skip
    assert len(what["fingerprint"]) == 8


@each_case(("each", "guard"), [
    (WRITE, jwt_required(scopes={"articles:write"})),
    (ADMIN, jwt_required(roles={"admin"})),
    (no, jwt_required(check=lambda payload: False)),
])  # fmt: skip
def test_the_answer_is_that_of_a_guard_and_says_no_more(
    ask: Ask, app: Flask, jam: Jam, each: Policy, guard: Any
) -> None:
    app.add_url_rule("/guarded", "guarded", guard(lambda: "in"))
    ours = ask(each)
    theirs = app.test_client().get("/guarded", headers=bearer(token_of(jam)))
    assert ours.data == theirs.data
    assert set(theirs.headers) == set(ours.headers)
    assert "admin" not in ours.text
    assert "no" not in ours.json


def test_the_reason_does_not_hang_on_the_order(app: Flask, jam: Jam) -> None:
    conditions = [WRITE, ADMIN, no]
    app.add_url_rule("/", "view", str)

    def reason_of(*parts: Policy) -> Any:
        with app.test_request_context(headers=bearer(token_of(jam))):
            with pytest.raises(Forbidden) as refused:
                authorize(functools.reduce(Policy.__and__, parts))
            return refused.value.reason  # type: ignore[attr-defined]

    assert {reason_of(*order) for order in itertools.permutations(conditions)} == {Reason.DENIED}
    pairs = itertools.permutations([WRITE, no])
    assert {reason_of(*order) for order in pairs} == {Reason.INSUFFICIENT_SCOPE}


def test_what_was_missing_is_logged_and_no_claim_is(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_jam.policies")
    ask(WRITE & owner & claim("tenant", "acme"), Article("bob"), tenant="umbrella")
    assert caplog.messages == [
        "policy scope('articles:write') & owner & claim('tenant', 'acme') denied, "
        "for want of scope('articles:write'), claim('tenant', 'acme')"
    ]


def test_filtering_a_list_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert not owner.allows({"sub": "alice"}, Article("bob"))
    assert caplog.messages == []


def test_a_predicate_may_read_the_request(ask: Ask) -> None:
    @policy
    def from_here(payload: dict[str, Any]) -> bool:
        return request.remote_addr == "127.0.0.1"

    assert ask(from_here).text == "in"


def test_nobody_is_told_to_come_with_a_credential(app: Flask, event_log: list[Any]) -> None:
    app.add_url_rule("/", "view", jwt_required(optional=True)(lambda: authorize(yes) or "in"))
    answer = app.test_client().get("/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert [(name, what["reason"]) for name, what in event_log] == [("rejected", Reason.MISSING)]


def test_the_challenge_for_nobody_is_that_of_the_schemes_that_were_asked(app: Flask) -> None:
    app.add_url_rule("/", "view", session_required(optional=True)(lambda: authorize(yes) or "in"))
    assert app.test_client().get("/").headers["WWW-Authenticate"] == 'Cookie realm="api"'


def test_no_predicate_is_asked_about_nobody(app: Flask) -> None:
    asked = []

    @policy
    def anybody(payload: dict[str, Any]) -> bool:
        asked.append(payload)
        return True

    app.add_url_rule("/", "view", str)
    with app.test_request_context("/"), pytest.raises(Unauthorized):
        authorize(~anybody | anybody)
    assert asked == []


@pytest.fixture
def unguarded(app: Flask) -> Flask:
    app.add_url_rule("/", "view", lambda: authorize(yes) or "in")
    app.add_url_rule("/public", "public", public(lambda: authorize(yes) or "in"))
    return app


def test_in_a_view_without_a_guard_the_credential_decides(
    unguarded: Flask, jam: Jam, clock: Clock
) -> None:
    client, token = unguarded.test_client(), token_of(jam)
    assert client.get("/", headers=bearer(token)).text == "in"
    clock.tick(86400)
    answer = client.get("/", headers=bearer(token))
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_token")
    assert client.get("/").json["error"] == "missing_credential"


def test_a_public_view_authorizes_who_asks(unguarded: Flask, jam: Jam) -> None:
    client = unguarded.test_client()
    assert client.get("/public", headers=bearer(token_of(jam))).status_code != 401
    refused = client.get("/public")
    assert (refused.status_code, refused.json["error"]) == (401, "missing_credential")


def test_a_store_that_is_down_is_503_and_not_nobody(
    unguarded: Flask, jam: Jam, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = jam.create_session("alice", {})

    def down(*args: Any) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(jam.sessions, "lookup", down)
    client = unguarded.test_client()
    client.set_cookie("sessionId", session)
    assert client.get("/").status_code == 503


def test_a_session_is_decided_by_its_data(app: Flask, jam: Jam) -> None:
    app.add_url_rule("/", "view", session_required(lambda: authorize(WRITE & ADMIN) or "in"))
    client = app.test_client()
    client.set_cookie("sessionId", jam.create_session("alice", {"roles": ["admin"]}))
    assert client.get("/").status_code == 403
    full = {"roles": ["admin"], "scope": "articles:write"}
    client.set_cookie("sessionId", jam.create_session("alice", full))
    assert client.get("/").text == "in"


def test_who_has_just_logged_in_is_who_it_decides_on(app: Flask) -> None:
    jwt = JWTExtension()
    other = Flask("logs_in")
    other.config["JAM_JWT_SECRET_KEY"] = SECRET
    jwt.init_app(other)

    @other.post("/")
    def view() -> str:
        jwt.login("alice", roles={"admin"})
        authorize(ADMIN)
        return "in"

    assert other.test_client().post("/").text == "in"


def test_a_view_that_catches_the_refusal_still_knows_who_it_is(app: Flask, jam: Jam) -> None:
    @app.get("/")
    @jwt_required
    def view() -> dict[str, Any]:
        try:
            authorize(ADMIN)
        except Forbidden:
            auth = current_auth()
            return {"limited": auth and auth.subject, "claim": g.payload["sub"]}
        return {}

    answer = app.test_client().get("/", headers=bearer(token_of(jam)))
    assert answer.json == {"limited": "alice", "claim": "alice"}


def test_it_works_in_an_async_view(app: Flask, jam: Jam) -> None:
    @app.get("/")
    @jwt_required
    async def view() -> str:
        authorize(ADMIN)
        return "in"

    client = app.test_client()
    assert client.get("/", headers=bearer(token_of(jam))).status_code == 403
    assert client.get("/", headers=bearer(token_of(jam, roles={"admin"}))).text == "in"


@each_case("signed_in", [True, False])
def test_a_wrong_call_is_found_whoever_calls(app: Flask, jam: Jam, signed_in: bool) -> None:
    headers = bearer(token_of(jam)) if signed_in else {}
    app.add_url_rule("/", "view", str)
    with app.test_request_context("/", headers=headers):
        with pytest.raises(ConfigError, match="needs|decides on a resource"):
            authorize(WRITE & owner)
        for wrong in ("admin", None, True, jwt_required, lambda payload: True):
            with pytest.raises(ConfigError, match="takes a policy"):
                authorize(wrong)  # type: ignore[arg-type]


def test_outside_of_a_request_authorize_says_what_to_ask_instead() -> None:
    with pytest.raises(ConfigError, match=r"policy\.allows"):
        authorize(yes)


@each_case("extension", [JamExtension, None])
def test_an_app_that_authenticates_nobody_says_so(jam: Jam, extension: Any) -> None:
    bare = Flask("bare")
    if extension is not None:
        extension(jam, bare)
    with bare.test_request_context("/"), pytest.raises(ConfigError, match=r"JWTExtension\(jam\)"):
        authorize(yes)


# --- routes that forgot to ask -----------------------------------------------------------


@pytest.fixture
def checked(app: Flask) -> Flask:
    @app.after_request
    def somebody_asked(response: Any) -> Any:
        if response.status_code < 400 and owner not in authorized():
            raise LookupError(request.endpoint)
        return response

    app.add_url_rule(
        "/asks", "asks", jwt_required(lambda: authorize(owner, Article("alice")) or "")
    )
    app.add_url_rule("/forgot", "forgot", jwt_required(lambda: "the article of bob"))
    app.add_url_rule("/caught", "caught", jwt_required(caught))
    return app


def caught() -> str:
    with suppress(Forbidden):
        authorize(owner, Article("bob"))
    return "the article of bob"


def test_a_view_that_never_asked_can_be_found_out(checked: Flask, jam: Jam) -> None:
    client, headers = checked.test_client(), bearer(token_of(jam))
    assert client.get("/asks", headers=headers).status_code == 200
    assert client.get("/forgot").status_code == 401
    for path in ("/forgot", "/caught"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 500
        assert "bob" not in answer.text


def test_what_one_request_has_asked_is_nothing_to_the_next(app: Flask, jam: Jam) -> None:
    headers = bearer(token_of(jam))
    app.add_url_rule("/", "view", str)
    with app.app_context():
        with app.test_request_context("/", headers=headers):
            authorize(yes)
            authorize(~no)
            assert authorized() == (yes, ~no)
        with app.test_request_context("/", headers=headers):
            assert authorized() == ()
    assert authorized() == ()


# --- as the check of a guard -------------------------------------------------------------


def test_a_guard_takes_a_policy_as_its_check(
    app: Flask, jam: Jam, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flask_jam.policies")
    guard = jwt_required(check=WRITE | ADMIN)
    assert repr(guard) == "jwt_required(check=scope('articles:write') | role('admin'))"
    app.add_url_rule("/", "view", guard(lambda: "in"))
    client = app.test_client()
    assert client.get("/", headers=bearer(token_of(jam, roles={"admin"}))).text == "in"
    assert caplog.messages == []
    assert client.get("/", headers=bearer(token_of(jam))).status_code == 403
    assert [message.partition(" for want of ")[2] for message in caplog.messages] == [
        "scope('articles:write'), role('admin')"
    ]


def test_a_policy_of_a_thing_is_no_check_of_a_guard() -> None:
    with pytest.raises(ConfigError, match="resource"):
        jwt_required(check=WRITE & owner)


def test_a_check_is_asked_whatever_python_takes_it_for(app: Flask, jam: Jam) -> None:
    class Invited:
        def __init__(self, *names: str) -> None:
            self.names = names

        def __len__(self) -> int:
            return len(self.names)

        def __call__(self, payload: dict[str, Any]) -> bool:
            return payload["sub"] in self.names

    app.add_url_rule("/", "view", jwt_required(check=Invited())(lambda: "in"))
    assert app.test_client().get("/", headers=bearer(token_of(jam))).status_code == 403
