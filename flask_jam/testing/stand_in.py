"""A stand-in for an identity provider: tokens as it issues them, and no network."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jwt as pyjwt

from .._credentials.issuer import PRESENT, TENANT, ClaimPath, Issuer
from ..errors import ConfigError
from ..keys import new_key

_KID = "stand-in"


class StandIn:
    """Issue the tokens of a provider in tests, under the same rules.

    ``issuer`` is the given :class:`~flask_jam.issuers.Issuer`, with a key of the stand-in in place
    of the provider's. Build the app under test with it: real tokens pass the real guards.

    :param issuer: the issuer in your app's configuration.
    :param clock: the clock; pass that of a Jam with a clock of its own.
    :raises ConfigError: for a value that is no ``Issuer``.
    """

    def __init__(self, issuer: Issuer, clock: Callable[[], float] = time.time) -> None:
        if not isinstance(issuer, Issuer):
            raise ConfigError("StandIn takes an Issuer, such as StandIn(auth0(...))")
        self._clock = clock
        self._alg = next(iter(issuer.algorithms))
        self._key, jwk = _key_of(issuer.issuer, self._alg)
        self.issuer = replace(issuer, jwks_uri=None, jwks={"keys": [jwk]})

    def token(
        self,
        subject: str,
        *,
        scopes: Iterable[str] = (),
        roles: Iterable[str] = (),
        expires_in: float = 300,
        **claims: Any,
    ) -> str:
        """Return an access token of the provider.

        :param scopes: written, like ``roles``, where the issuer's rules read them.
        :param claims: any other claims, or other values: ``aud="another-api"``; ``None`` leaves
            one out.
        :raises ConfigError: for roles, if the issuer's rules have no place for them.
        """
        said = self._claims(subject, expires_in)
        if scopes:
            _put(said, next(iter(self.issuer.scopes), None), " ".join(scopes), "scopes")
        if roles:
            _put(said, self.issuer.roles, list(roles), "roles")
        said = {name: value for name, value in {**said, **claims}.items() if value is not None}
        kind = next((each for each in self.issuer.typ), "JWT")
        headers = {"kid": _KID, "typ": kind}
        return pyjwt.encode(said, self._key, self._alg, headers=headers)

    def headers(self, subject: str, **options: Any) -> dict[str, str]:
        """Return the headers of a request that presents such a token."""
        return {"Authorization": f"Bearer {self.token(subject, **options)}"}

    def _claims(self, subject: str, expires_in: float) -> dict[str, Any]:
        rules, now = self.issuer, int(self._clock())
        claims: dict[str, Any] = {"iss": rules.issuer, "iat": now, "exp": int(now + expires_in)}
        tenants = list(rules.tenants or ())
        if tenants:
            tenant = "0" * 8 + "-0000-0000-0000-" + "0" * 12 if tenants == ["any"] else tenants[0]
            claims |= {"iss": rules.issuer.replace(TENANT, tenant), "tid": tenant}
        for name, values in rules.require or ():
            _put(claims, name, "stand-in" if PRESENT in values else values[0], name)
        _put(claims, rules.audience_claim, next(iter(rules.audience)), "the audience")
        _put(claims, rules.subject, subject, "the subject")
        if rules.subject in ("email", ("email",)):
            claims["email_verified"] = True
        if rules.jti is not None:
            _put(claims, rules.jti, secrets.token_urlsafe(12), "the id")
        return claims


@lru_cache(16)
def _key_of(_issuer: str, alg: str) -> tuple[Any, dict[str, Any]]:
    """Return a key and its public half, cached for each issuer: an RSA key takes a while."""
    algorithm = pyjwt.get_algorithm_by_name(alg)
    key = algorithm.prepare_key(new_key(alg)["JAM_JWT_PRIVATE_KEY"])
    jwk = algorithm.to_jwk(key.public_key(), as_dict=True)
    return key, {**jwk, "kid": _KID, "alg": alg, "use": "sig", "key_ops": ["verify"]}


def _put(claims: dict[str, Any], path: ClaimPath | None, value: Any, what: str) -> None:
    """Write a value where the issuer's rules read it."""
    if path is None:
        raise ConfigError(f"the issuer's rules have no place for {what}: set it in the Issuer")
    names = (path,) if isinstance(path, str) and "://" in path else path
    *outer, last = names.split(".") if isinstance(names, str) else names
    for name in outer:
        claims = claims.setdefault(name, {})
    claims[last] = value
