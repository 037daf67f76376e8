"""``Issuer``: another service whose tokens are accepted, and its validated rules."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any

from .._helpers.issuer_urls import as_key_url
from .._helpers.names import nearest
from .._helpers.setting_types import as_flag, as_name, as_seconds, as_text
from ..errors import ConfigError
from ..keys import KeyRing
from ..settings import ALGORITHMS, DAY
from .issuer_names import ANY_TENANT as ANY_TENANT
from .issuer_names import TENANT as TENANT

#: The path of a claim: a name, a dotted path, or a tuple of names.
ClaimPath = str | tuple[str, ...]

_TEN_YEARS = 3650 * DAY
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: In ``require``: the claim must exist, with any value.
PRESENT = "*"

_SIGNING = tuple(alg for alg in ALGORITHMS if not alg.startswith("HS"))


def is_tenant(value: object) -> bool:
    """Return True for a GUID, as ``tid`` has it."""
    return isinstance(value, str) and _GUID.fullmatch(value) is not None


# --- checks ---------------------------------------------------------------------------


def _as_texts(value: Any, check: Callable[[Any], str] = as_text) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple, set, frozenset)) or not value:
        raise ValueError("must be a string, or a list of strings")
    return tuple(dict.fromkeys(check(each) for each in value))


def _as_audience(value: Any) -> tuple[str, ...]:
    return _as_texts(value, as_name)


def _as_algorithm(value: Any) -> str:
    name = "EdDSA" if value == "Ed25519" else value
    if name not in _SIGNING:
        raise ValueError(
            "must name signatures with a public key, such as RS256 or ES256"
            f"{nearest(name, _SIGNING)}"
        )
    return str(name)


def _as_algorithms(value: Any) -> tuple[str, ...]:
    return _as_texts(value, _as_algorithm)


def _as_types(value: Any) -> tuple[str, ...]:
    return tuple(each.lower().removeprefix("application/") for each in _as_texts(value))


def _as_path(value: Any) -> ClaimPath:
    if isinstance(value, (list, tuple)) and value:
        return tuple(as_text(each) for each in value)
    if not isinstance(value, str):
        raise ValueError("must name a claim: roles, realm_access.roles or a tuple of names")
    return as_text(value)


def _as_paths(value: Any) -> tuple[ClaimPath, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise ValueError('must be a list of claims, of which the first counts: ("scope", "scp")')
    return tuple(_as_path(each) for each in value)


def _as_required(value: Any) -> tuple[tuple[str, tuple[Any, ...]], ...]:
    if value is None:
        return ()
    if isinstance(value, tuple) and all(type(each) is tuple and len(each) == 2 for each in value):
        value = dict(value)  # as it stands in another Issuer
    if not isinstance(value, Mapping):
        raise ValueError('must be a mapping of claims to values, such as {"token_use": "access"}')
    listed = {
        name: tuple(each) if isinstance(each, (list, tuple)) else (each,)
        for name, each in value.items()
    }
    for name, values in listed.items():
        as_text(name)
        if not values or not all(isinstance(each, (str, bool)) for each in values):
            raise ValueError("must map each claim to a string, true, false, or a list of strings")
    return tuple(listed.items())


def _as_tenants(value: Any) -> tuple[str, ...]:
    if value in (ANY_TENANT, (ANY_TENANT,)):  # also as it stands in another Issuer
        return (ANY_TENANT,)
    tenants = tuple(each.lower() for each in _as_texts(value))
    if not all(map(is_tenant, tenants)):
        raise ValueError('must be a list of tenant ids (GUIDs), or "any" for every tenant there is')
    return tenants


def _as_uri(value: Any) -> str:
    as_key_url(value)
    return str(value)


def _as_keys(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError('must be a JWK Set as a mapping: {"keys": [...]}')
    return value


def _optional(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else check(value)


def _rule(check: Callable[[Any], Any], default: Any = None, **options: Any) -> Any:
    return field(default=default, metadata={"check": check}, **options)


_URI, _KEYS, _TENANTS = _optional(_as_uri), _optional(_as_keys), _optional(_as_tenants)
_PATH_OR_NONE = _optional(_as_path)
_AS_LEEWAY, _AS_LIFE = as_seconds(0, 300), as_seconds(1, _TEN_YEARS)


# --- the issuer -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Issuer:
    """Another service whose tokens are accepted, and the rules for them. Times are seconds.

    The path of a claim is a name (``roles``), a dotted path (``realm_access.roles``) or a tuple of
    names. A name that is a claim of the token, or that contains ``://``, is never split at dots.

    :param issuer: ``iss``, exactly as in the tokens. ``{tenantid}`` in it stands for a tenant
        of Microsoft Entra.
    :param audience: the issuer's name for this service; one of them must be in the token.
    :param jwks_uri: URL of its keys; by default from its metadata (OpenID Connect Discovery, RFC
        8414).
    :param jwks: its keys as a JWK Set. Then nothing is fetched.
    :param algorithms: the accepted signature algorithms. Shared secrets are not supported.
    :param typ: the accepted types in the header; ``("at+jwt",)`` for RFC 9068 alone.
    :param typ_optional: accept a header without a type.
    :param id_tokens: accept tokens with ``nonce``, ``at_hash`` or ``c_hash``, too.
    :param leeway: clock skew allowed between the issuer and this machine.
    :param max_lifetime: the longest accepted lifetime of a token.
    :param jti: path of the token's id. Tokens without one are revoked by their content.
    :param scopes: paths of the scopes; the first claim that exists counts.
    :param roles: path of the list of roles.
    :param subject: path of the subject. ``email`` needs ``email_verified`` to be true.
    :param audience_claim: path of the audience.
    :param require: values that claims must have: ``{"token_use": "access"}``. A list of values
        allows each of them, ``"*"`` any.
    :param tenants: the accepted values of ``{tenantid}``, or ``"any"``.
    :param everywhere: let every plain ``jwt_required`` accept its tokens.
    :raises ConfigError: for an invalid rule; the sentence says what to write instead.
    """

    issuer: str = field(metadata={"check": as_name})
    _: KW_ONLY
    audience: str | Collection[str] = field(metadata={"check": _as_audience})
    jwks_uri: str | None = _rule(_URI)
    jwks: Mapping[str, Any] | None = _rule(_KEYS, repr=False)
    algorithms: str | Collection[str] = _rule(_as_algorithms, ("RS256",))
    typ: str | Collection[str] = _rule(_as_types, ("JWT", "at+jwt"))
    typ_optional: bool = _rule(as_flag, default=False)
    id_tokens: bool = _rule(as_flag, default=False)
    leeway: float = _rule(_AS_LEEWAY, 60.0)
    max_lifetime: float = _rule(_AS_LIFE, DAY)
    jti: ClaimPath | None = _rule(_PATH_OR_NONE, "jti")  # noqa: RUF009
    scopes: str | Collection[ClaimPath] = _rule(_as_paths, ("scope", "scp"))
    roles: ClaimPath | None = _rule(_PATH_OR_NONE)  # noqa: RUF009
    subject: ClaimPath = _rule(_as_path, "sub")  # noqa: RUF009
    audience_claim: ClaimPath = _rule(_as_path, "aud")  # noqa: RUF009
    require: Any = _rule(_as_required)  # noqa: RUF009
    tenants: str | Collection[str] | None = _rule(_TENANTS)
    everywhere: bool = _rule(as_flag, default=False)

    def __post_init__(self) -> None:
        for rule in fields(self):
            value = getattr(self, rule.name)
            try:
                object.__setattr__(self, rule.name, rule.metadata["check"](value))
            except ValueError as error:
                raise ConfigError(f"{rule.name} of an Issuer {error}") from None
        self._check_source()
        self._check_tenants()

    def _check_source(self) -> None:
        if self.jwks is not None:
            if self.jwks_uri is not None:
                raise ConfigError("an Issuer has jwks_uri or jwks, not both")
            self.static_keys()
        elif self.jwks_uri is None:
            self._check_discoverable()

    def _check_discoverable(self) -> None:
        try:
            url = as_key_url(self.issuer)
        except ValueError as error:
            raise ConfigError(
                f"issuer of an Issuer {error}. Or write jwks_uri, where its keys are"
            ) from None
        if "?" in url.target or TENANT in self.issuer:
            raise ConfigError("write jwks_uri: this issuer has no metadata of its own")

    def _check_tenants(self) -> None:
        if (TENANT in self.issuer) != (self.tenants is not None):
            raise ConfigError(
                f"tenants of an Issuer are those that {TENANT} in its issuer stands for: write "
                'both, as flask_jam.issuers.entra(tenants=[...]) does, or tenants="any"'
            )
        if self.issuer.count(TENANT) > 1:
            raise ConfigError(f"{TENANT} stands once in the issuer of an Issuer")

    @property
    def longest(self) -> float:
        """Return the longest lifetime of a token, in seconds."""
        return self.max_lifetime

    def static_keys(self) -> KeyRing | None:
        """Return the keys of ``jwks``, or None if they are fetched."""
        if self.jwks is None:
            return None
        return KeyRing.from_jwks(self.jwks, algorithms=self.algorithms)

    def of_tenant(self, tenant: str) -> str:
        """Return ``iss`` of a tenant's tokens."""
        return self.issuer.replace(TENANT, tenant)
