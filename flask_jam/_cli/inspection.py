"""Decode a credential and explain why it would be rejected. For operators only.

Clients never see these reasons. A refresh token is read, not rotated; reading a session counts as a
use, like a request.
"""

from __future__ import annotations

import base64
import math
import re
from typing import Any

from .._credentials.api_key_text import has_form, is_key
from .._credentials.claims import Facts
from .._credentials.keyring_watch import is_retired
from .._credentials.sessions import is_session_id
from .._helpers.strict_json import strict_object
from ..errors import IssuerUnavailable, Reason, SessionError, TokenError
from ..jam import Jam
from ..jws import verify_jws
from ..settings import JWTSettings
from ..stores.interface import Rotation, Session, split_owner
from ..stores.memory import MemoryStore
from .issuer_states import flaw_of, rules_of, taken_by, unknown_issuer

_LIKE_REFRESH = re.compile(r"[A-Za-z0-9_-]{45}\.[0-9]+\.[A-Za-z0-9_-]{43}")
#: Explanations of refusals that need no details.
_UNSAID = str(TokenError(Reason.INVALID))
#: The refusal of a token whose ``iss`` is no configured issuer.
_OF_STRANGERS = {Reason.INVALID, Reason.WRONG_ISSUER}
_DETAILS = {
    Reason.TOO_LARGE: "it, or its header, is longer than jwt.max_token_bytes",
    Reason.REVOKED: "it was revoked, or its login was, or its subject",
    Reason.NOT_YET_VALID: "its nbf or iat lies in the future: is a clock wrong?",
    Reason.WRONG_TYPE: "its typ is not that of an access token",
}
#: The same for an API key; ``None`` for a key that is refused before the store is asked.
_DETAILS_OF_KEY = {
    None: "its checksum is wrong: a part is missing or mistyped",
    Reason.INVALID: "no such key is known here: it is of another app, or expired long ago",
    Reason.EXPIRED: "it has expired, or was rotated and its overlap is over",
    Reason.REVOKED: "it was revoked or rotated, or its owner was revoked",
}


def inspect(jam: Jam, credential: str) -> dict[str, Any]:
    """Return ``kind``, ``good``, ``reason`` if it would be refused, and its content.

    :raises StoreUnavailable: if the store did not answer.
    """
    note = _note(jam)
    return {**_found(jam, credential), **({"note": note} if note else {})}


def has_key(jwt: JWTSettings) -> bool:
    """Return True if a key is configured, so that it outlives this process."""
    given = jwt.secret_key, jwt.private_key, jwt.private_key_file, jwt.keyring
    return any((*given, jwt.public_key, jwt.public_key_file))


def _note(jam: Jam) -> str | None:
    """Return why another process may decide otherwise."""
    if not has_key(jam.settings.jwt) and jam.issuers is None:
        return "no key is configured, so no token of another process can be valid here"
    if isinstance(jam.store, MemoryStore):
        return "the store is this process's memory: what was revoked elsewhere is not known here"
    return None


def _found(jam: Jam, credential: str) -> dict[str, Any]:
    if has_form(credential, jam.settings.api_key.prefix):
        return _api_key(jam, credential)
    if is_session_id(credential):
        return _session(jam, credential)
    try:
        family_id, generation = jam.families.parsed(credential)
    except TokenError:
        return _access(jam, credential)
    return _refresh(jam, family_id, generation)


def _api_key(jam: Jam, text: str) -> dict[str, Any]:
    try:
        key = jam.api_keys.lookup(text)
    except TokenError as error:
        is_whole = is_key(text, jam.settings.api_key.prefix)
        detail = _DETAILS_OF_KEY[error.reason if is_whole else None]
        return {"kind": "API key", **_refused(error.reason, detail)}
    subject, issuer = split_owner(key.owner)
    return {
        "kind": "API key",
        "good": True,
        "subject": subject,
        **({} if issuer is None else {"issuer": issuer}),
        "handle": key.handle,
        "name": key.name,
        "created_at": key.created_at,
        **({} if math.isinf(key.expires_at) else {"expires_at": key.expires_at}),
        "scopes": list(key.scopes),
        "roles": list(key.roles),
        "data": dict.fromkeys(sorted(key.data or ()), "***"),
    }


def _session(jam: Jam, session_id: str) -> dict[str, Any]:
    try:
        session = jam.sessions.lookup(session_id)
    except SessionError as error:
        return {"kind": "session id", **_refused(error.reason, str(error))}
    return {
        "kind": "session id",
        "good": True,
        **_owner(session.session_key),
        "handle": jam.handle_of(session_id),
        "created_at": session.created_at,
        "expires_at": session.expires_at,
        "data": _masked(session),
    }


def _owner(owner: str) -> dict[str, str]:
    subject, issuer = split_owner(owner)
    return {"subject": subject, **({} if issuer is None else {"issuer": issuer})}


def _masked(session: Session) -> dict[str, Any]:
    """Return the data that guards read, and only the names of the rest, which may be secret."""
    told = ("scope", "roles")
    return {name: session.data[name] if name in told else "***" for name in sorted(session.data)}


def _refresh(jam: Jam, family_id: str, generation: int) -> dict[str, Any]:
    kind = {"kind": "refresh token"}
    family = jam.families.read(family_id)
    if family is None:
        return {**kind, **_refused(Reason.REVOKED, "its login has ended, or is not known")}
    answer = family.answer(generation, jam.settings.jwt.refresh_grace)
    verdict: dict[str, Any] = {"good": True}
    if answer not in (Rotation.NEW, Rotation.SAME):
        verdict = _refused(
            Reason.REUSED,
            "it was used before: presenting it ends the login for all its clients",
        )
    return {
        **kind,
        **verdict,
        "subject": family.subject,
        "generation": generation,
        "expires_at": min(family.idle_until, family.ends_at),
    }


def _access(jam: Jam, token: str) -> dict[str, Any]:
    header, claims = _unverified(token)
    verdict: dict[str, Any] = {"good": True}
    try:
        jam._will_use_tokens()
        verdict |= _mapped(jam, jam.verifier.verify(token))
    except TokenError as error:
        stranger = unknown_issuer(jam, claims) if error.reason in _OF_STRANGERS else None
        detail = stranger or _detail(jam, token, (header, claims), error)
        verdict = _refused(error.reason, detail)
    except IssuerUnavailable as error:
        verdict = _refused(error.reason, f"{error}: see flask jam issuers")
    kind = {"kind": "access token" if isinstance(header, dict) else "unknown"}
    return {**kind, **verdict, **_end(claims), "header": header, "claims": claims}


def _mapped(jam: Jam, facts: Facts) -> dict[str, Any]:
    """Return scope, roles and subject of a token by the rules of its issuer."""
    rules = rules_of(jam, facts.flat)
    if facts.issuer is None or rules is None:
        return {}
    claims = facts.fresh()
    return {
        "issuer": facts.issuer,
        "subject": facts.sub,
        "scope": claims.get("scope", ""),
        "roles": claims.get("roles", []),
        "taken_by": taken_by(jam, rules),
    }


def _end(claims: Any) -> dict[str, Any]:
    exp = claims.get("exp") if isinstance(claims, dict) else None
    is_number = isinstance(exp, (int, float)) and not isinstance(exp, bool)
    return {"expires_at": exp} if is_number else {}


def _detail(jam: Jam, token: str, said: tuple[Any, Any], error: TokenError) -> str:
    if str(error) != _UNSAID:
        return str(error)
    header, claims = said
    rules = rules_of(jam, claims)
    if rules is not None and error.reason is Reason.INVALID and isinstance(header, dict):
        return flaw_of(jam, rules, header)
    return _DETAILS.get(error.reason) or _flaw(jam, token, header)


def _flaw(jam: Jam, token: str, header: Any) -> str:
    """Return what is wrong with a token that clients only see as not valid."""
    if not isinstance(header, dict):
        return _flaw_of_form(token)
    keyring = jam.verifier.keyring
    key = keyring.find(header)
    alg = jam.settings.jwt.alg if key is None else key.alg
    if jam.keyring_watch is not None and is_retired(jam.keyring_watch, header.get("kid")):
        return "its kid names a key that was retired"
    if header.get("alg") != alg and (key is not None or jam.keyring_watch is None):
        return f"its alg is not {alg}"
    if key is None:
        return "its kid names no key of ours"
    try:
        verify_jws(token, keyring, max_bytes=jam.settings.jwt.max_token_bytes)
    except TokenError:
        return "the signature is not that of our key, or its form is not strict"
    return "the signature is ours; what it says is not strict JSON, or it lives too long"


def _flaw_of_form(token: str) -> str:
    if _LIKE_REFRESH.fullmatch(token):
        return "it has the form of a refresh token, and was made with another key"
    if token.count(".") != 2:
        return "it is not a signed token, which has three parts separated by dots"
    return "its first part is not strict JSON"


def _refused(reason: Reason, detail: str) -> dict[str, Any]:
    return {"good": False, "reason": str(reason), "detail": detail}


def _unverified(token: str) -> tuple[Any, Any]:
    """Return the unverified header and claims: objects, or a string if they are not JSON."""
    parts = token[:65536].split(".")
    return (_decoded(parts[0]), _decoded(parts[1])) if len(parts) == 3 else (None, None)


def _decoded(segment: str) -> Any:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        text = raw.decode("utf-8")
    except ValueError:
        return None
    try:
        return strict_object(raw)
    except TokenError:
        return text[:200]
