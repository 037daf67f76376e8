"""What type checkers must see through the decorators. Checked, not run."""

from __future__ import annotations

from typing import Any

from flask.views import MethodView
from typing_extensions import assert_type

from flask_jam import (
    Accepted,
    ApiKeyExtension,
    ApiKeyInfo,
    BasicExtension,
    Guard,
    Jam,
    JWTExtension,
    SessionExtension,
    Ticket,
    api_key_required,
    basic_required,
    current_auth,
    current_subject,
    current_user,
    current_user_as,
    jwt_required,
    public,
    session_required,
)
from flask_jam.refusal import Refusal


@jwt_required
def plain(number: int, name: str = "") -> str:
    return name * number


@jwt_required(scopes={"read"}, roles=["admin"], max_age=300, check=lambda payload: bool(payload))
async def awaited(number: int) -> dict[str, int]:
    return {"number": number}


@jwt_required(sources={"header"})
def by_header() -> int:
    return 1


@api_key_required(scopes={"read"})
def by_key() -> int:
    return 1


@public
def opened() -> int:
    return 1


@(session_required | basic_required(optional=True))
def by_password(name: str) -> str:
    return name


def check_password(name: str, password: str) -> str | None:
    return None


def show_the_form_again(name: str) -> tuple[str, int, dict[str, str]]:
    try:
        session.refuse_login(name)
    except Refusal as refused:
        assert_type(refused.challenge, str | None)
        return "form", 401, refused.extra_headers


def check_basic(jam: Jam) -> None:
    assert_type(by_password("ann"), str)
    basic = BasicExtension(check_password, jam, load_user=load_user)
    assert_type(basic.required, Guard)
    BasicExtension(load_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@(jwt_required | session_required(optional=True))
class Page(MethodView):
    def get(self) -> str:
        return ""


class User:
    name: str


session = SessionExtension()


@session.user_loader
def load_user(auth: Accepted) -> User | None:
    return User() if current_subject() == auth.subject else None


def load_by_id(user_id: str) -> User | None:
    return None


def check_users(auth: Accepted) -> None:
    assert_type(load_user(auth), User | None)
    assert_type(current_user_as(User), User)
    assert_type(current_user_as(User).name, str)
    assert_type(current_subject(), str)
    user: User = current_user
    assert_type(user.name, str)
    SessionExtension(load_user=load_user)
    JWTExtension(load_user=lambda accepted: accepted.subject)
    JWTExtension(load_user=load_by_id)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    keys = ApiKeyExtension(load_user=load_user, owner_grants=lambda auth: {"roles": {"ops"}})
    assert_type(keys.create(name="n", scopes={"read"}, expires_in=60), tuple[str, ApiKeyInfo])
    assert_type(keys.list(), list[ApiKeyInfo])
    assert_type(keys.revoke("handle"), bool)
    ApiKeyExtension(owner_grants=lambda auth: auth.subject)  # type: ignore[arg-type, return-value]  # pyright: ignore[reportArgumentType]
    session.user_loader(load_by_id)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


async def check(jam: Jam) -> None:
    assert_type(plain(1, name="x"), str)
    assert_type(await awaited(1), dict[str, int])
    assert_type(opened(), int)
    assert_type(by_header(), int)
    assert_type(by_key(), int)
    assert_type(Page().get(), str)
    assert_type(jwt_required(roles={"x"}), Guard)
    assert_type(current_auth(), Accepted | None)
    assert_type(jam.verify_jwt_token("x"), dict[str, Any])
    assert_type(jam.issue_tokens("a", refresh=False, expires_in=60, team="x"), dict[str, Any])
    JWTExtension(jam, header_type=None, refresh_sources=("header",)).login("a", expires_in=60.5)
    JWTExtension(jam, header_type="Token")
    JWTExtension(jam, header_type=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert_type(jam.get_session("x"), dict[str, Any] | None)
    assert_type(jam.issue_ticket("reset", "a", expires_in=60, bound_to=b"x", data={}), str)
    jam.issue_ticket("reset", "a")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    assert_type(jam.redeem_ticket("reset", "x", bound_to=lambda ticket: ticket.subject), Ticket)
    assert_type(jam.peek_ticket("reset", "x", bound_to=None).data, dict[str, Any])
    plain("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    jwt_required(role={"x"})  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
