"""What users rely on: names, signatures, and what an import of the package does not do."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import flask_jam
from flask_jam import (
    ApiKeyExtension,
    BasicExtension,
    Jam,
    JamExtension,
    JWTExtension,
    SchemeExtension,
    SessionExtension,
    issuers,
)
from flask_jam.jws import verify_jws
from flask_jam.keys import KeyRing

from .cases import each_case

NAMES = {
    "Jam", "JamExtension", "JWTExtension", "SessionExtension", "SchemeExtension", "BasicExtension",
    "ApiKeyExtension",
    "Guard", "jwt_required", "session_required", "basic_required", "api_key_required", "public",
    "protect",
    "current_auth", "current_user", "current_user_as", "current_subject", "safe_next",
    "Accepted", "SessionInfo", "LoginInfo", "ApiKeyInfo", "Ticket", "signals",
    "JamError", "ConfigError", "TokenError", "SessionError", "StoreUnavailable", "Reason",
}  # fmt: skip

METHODS = {
    "make_payload": "(self, /, exp=None, **data)",
    "gen_jwt_token": "(self, payload)",
    "verify_jwt_token": "(self, token)",
    "issue_tokens": (
        "(self, subject, *, scopes=(), roles=(), refresh=True, expires_in=None, **claims)"
    ),
    "refresh_tokens": "(self, refresh_token, *, reload_claims=None)",
    "revoke_token": "(self, token_or_claims)",
    "revoke_subject": "(self, subject, issuer=None)",
    "create_session": (
        "(self, session_key, data, *, remember=None, idle=None, absolute=None, auth_time=None, "
        "user_agent=None, ip=None, issuer=None)"
    ),
    "get_session": "(self, session_id)",
    "update_session": "(self, session_id, data)",
    "rework_session": "(self, session_id)",
    "delete_session": "(self, session_id)",
    "clear_sessions": "(self, session_key, issuer=None, *, keep=None)",
    "list_sessions": "(self, session_key, issuer=None)",
    "delete_session_by_handle": "(self, session_key, handle, issuer=None)",
    "handle_of": "(self, session_id)",
    "list_logins": "(self, subject, issuer=None)",
    "end_login_by_handle": "(self, subject, handle, issuer=None)",
    "end_logins": "(self, subject, issuer=None)",
    "issue_ticket": (
        "(self, purpose, subject, *, expires_in, data=None, bound_to=None, replace=True, "
        "issuer=None)"
    ),
    "peek_ticket": "(self, purpose, ticket, *, bound_to=None)",
    "redeem_ticket": "(self, purpose, ticket, *, bound_to=None)",
    "create_api_key": (
        "(self, subject, *, name, scopes=(), roles=(), expires_in=None, data=None, issuer=None)"
    ),
    "list_api_keys": "(self, subject, issuer=None)",
    "rotate_api_key": "(self, subject, handle, overlap=0, issuer=None)",
    "revoke_api_key": "(self, subject, handle, issuer=None)",
}

OTHERS = [
    (JamExtension, "(jam=None, app=None)"),
    (
        JWTExtension,
        "(jam=None, app=None, *, header_name='Authorization', cookie_name=None, "
        "load_user=None, header_type=<HEADER_TYPE>, refresh_sources=('body', 'cookie'), "
        "reload_claims=None, refresh_path=None)",
    ),
    (JWTExtension.user_loader, "(self, load_user)"),
    (
        ApiKeyExtension,
        "(jam=None, app=None, *, header_name='Authorization', header_type=<HEADER_TYPE>, "
        "load_user=None, owner_grants=None)",
    ),
    (
        ApiKeyExtension.create,
        "(self, *, name, scopes=(), roles=(), expires_in=None, data=None, by_key=False)",
    ),
    (ApiKeyExtension.list, "(self)"),
    (ApiKeyExtension.rotate, "(self, handle, overlap=0, *, by_key=False)"),
    (ApiKeyExtension.revoke, "(self, handle)"),
    (SchemeExtension, "(scheme, jam=None, app=None, *, load_user=None)"),
    (BasicExtension, "(check, jam=None, app=None, *, load_user=None)"),
    (flask_jam.current_user_as, "(user_class)"),
    (flask_jam.current_subject, "()"),
    (JWTExtension.handle, "(self)"),
    (JWTExtension.logout, "(self, *, clear_site_data=False)"),
    (SessionExtension.logout, "(self, *, clear_site_data=False)"),
    (SessionExtension.list, "(self)"),
    (SessionExtension.handle, "(self)"),
    (SessionExtension.end, "(self, handle)"),
    (SessionExtension.end_others, "(self)"),
    (flask_jam.safe_next, "(default='/')"),
    (
        SessionExtension,
        "(jam=None, app=None, *, header_name=None, cookie_name='sessionId', load_user=None)",
    ),
    (KeyRing.from_jwks, "(jwks, *, algorithms=None)"),
    (verify_jws, "(token, keyring, *, max_bytes=8192)"),
    (
        issuers.Issuer,
        "(issuer, *, audience, jwks_uri=None, jwks=None, algorithms=('RS256',), "
        "typ=('JWT', 'at+jwt'), typ_optional=False, id_tokens=False, leeway=60.0, "
        "max_lifetime=86400.0, jti='jti', scopes=('scope', 'scp'), roles=None, subject='sub', "
        "audience_claim='aud', require=None, tenants=None, everywhere=False)",
    ),
    (issuers.oidc, "(issuer, *, audience, **rules)"),
    (issuers.auth0, "(domain, *, audience, **rules)"),
    (issuers.entra, "(tenant=None, *, audience, tenants=None, version=2, **rules)"),
    (issuers.cognito, "(region, user_pool, *, clients, **rules)"),
    (issuers.keycloak, "(url, realm, *, audience, **rules)"),
    (issuers.okta, "(domain, *, audience='api://default', server='default', **rules)"),
    (issuers.google, "(client_ids, *, hosted_domain=None, **rules)"),
    (issuers.firebase, "(project, **rules)"),
    (issuers.from_table, "(table)"),
]


def bare(function: Any) -> str:
    """The signature without its annotations."""
    signature = inspect.signature(function)
    plain = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def test_the_public_names_are_these_and_no_others() -> None:
    public = {
        name
        for name, value in vars(flask_jam).items()
        if not name.startswith("_") and (name == "signals" or not isinstance(value, ModuleType))
    }
    assert public == NAMES


def test_the_signals_are_these_and_no_others() -> None:
    from blinker import NamedSignal

    found = {n for n, v in vars(flask_jam.signals).items() if isinstance(v, NamedSignal)}
    assert found == {
        "logged_in", "logged_out", "login_failed", "refreshed", "rejected", "revoked",
        "reuse_detected",
    }  # fmt: skip


@each_case("name", METHODS)
def test_a_method_of_jam_is_called_as_it_always_was(name: str) -> None:
    assert bare(getattr(Jam, name)) == METHODS[name]


def test_jam_is_made_as_it_always_was() -> None:
    parameters = inspect.signature(Jam).parameters
    assert list(parameters) == ["config", "store", "clock", "issuers"]
    assert parameters["config"].default is None
    assert parameters["store"].kind is parameters["clock"].kind is inspect.Parameter.KEYWORD_ONLY


@each_case(("what", "signature"), OTHERS, ids=lambda value: str(value)[:40])
def test_the_other_entrances_are_called_as_they_always_were(what: Any, signature: str) -> None:
    assert bare(what) == signature


@each_case("name", sorted(NAMES - {"signals"}))
def test_every_public_name_is_documented(name: str) -> None:
    assert inspect.getdoc(getattr(flask_jam, name))


@each_case("name", METHODS)
def test_every_public_method_is_documented_and_typed(name: str) -> None:
    method = getattr(Jam, name)
    assert inspect.getdoc(method)
    assert inspect.signature(method).return_annotation is not inspect.Signature.empty


def test_type_checkers_are_told_that_the_package_is_typed() -> None:
    assert (Path(flask_jam.__file__).parent / "py.typed").is_file()


def test_importing_the_package_loads_no_extra_and_touches_no_logging() -> None:
    program = (
        "import logging, sys, threading, warnings\n"
        "warnings.simplefilter('error')\n"
        "import flask_jam\n"
        "late = {'redis', 'yaml', 'flask_jam._credentials.keyring_watch'}\n"
        "print(sorted(late & set(sys.modules)))\n"
        "names = logging.root.manager.loggerDict\n"
        "loggers = [logging.getLogger(), *map(logging.getLogger, names)]\n"
        "ours = [l for l in loggers if l.name.startswith(('root', 'flask_jam'))]\n"
        "print([l.name for l in ours if l.handlers or (l.level and l.name != 'root')])\n"
        "print(threading.active_count())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n[]\n1\n", "")
