"""Other issuers whose tokens are accepted: the rules for one, and presets for usual providers.

A preset is an :class:`Issuer` with the values that all customers of a provider share. Every rule
can be overridden: ``auth0("example.eu.auth0.com", audience="https://api.example.org", leeway=5)``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ._credentials.issuer import TENANT, Issuer
from ._helpers.names import nearest
from .errors import ConfigError
from .settings import DAY

__all__ = [
    "Issuer",
    "auth0",
    "cognito",
    "entra",
    "firebase",
    "from_table",
    "google",
    "keycloak",
    "oidc",
    "okta",
]

Audience = str | Collection[str]


def oidc(issuer: str, *, audience: Audience, **rules: Any) -> Issuer:
    """Return the issuer of any OpenID Connect provider, whose metadata names its keys."""
    return Issuer(issuer, audience=audience, **{"typ_optional": True, **rules})


def auth0(domain: str, *, audience: Audience, **rules: Any) -> Issuer:
    """Return the issuer of an Auth0 tenant or of its custom domain.

    :param domain: such as ``example.eu.auth0.com``.
    :param audience: the identifier of your API. Roles are its ``permissions``.
    """
    base = f"https://{_host(domain, 'domain')}"
    usual = {
        "jwks_uri": f"{base}/.well-known/jwks.json",
        "roles": "permissions",
        "max_lifetime": 30 * DAY,
    }
    return _made(f"{base}/", audience, usual, rules)


def entra(
    tenant: str | None = None,
    *,
    audience: Audience,
    tenants: Collection[str] | str | None = None,
    version: int = 2,
    **rules: Any,
) -> Issuer:
    """Return the issuer of Microsoft Entra ID.

    :param tenant: the id (GUID) of your directory.
    :param audience: the client id of your API; ``api://…`` with version 1.
    :param tenants: in place of ``tenant``: the ids of several directories, or ``"any"``.
    :param version: the version of access tokens: ``accessTokenAcceptedVersion`` of the app.
    """
    if (tenant is None) == (tenants is None):
        raise ConfigError('entra takes a tenant, or tenants=[...], or tenants="any"')
    one = tenants if tenant is None else [tenant]
    base = "https://login.microsoftonline.com/common/discovery"
    usual = {
        "tenants": one,
        "jti": "uti",
        "roles": "roles",
        "scopes": ("scp",),
        "max_lifetime": 28 * 3600.0,
        # Access tokens name the client; ID tokens, which may have the same audience, do not.
        "require": {"azp": "*"} if version == 2 else {"appid": "*"},
        "jwks_uri": f"{base}/v2.0/keys" if version == 2 else f"{base}/keys",
    }
    if version not in (1, 2):
        raise ConfigError("entra: version is 1 or 2")
    iss = (
        f"https://login.microsoftonline.com/{TENANT}/v2.0"
        if version == 2
        else f"https://sts.windows.net/{TENANT}/"
    )
    return _made(iss, audience, usual, rules)


def cognito(region: str, user_pool: str, *, clients: Audience, **rules: Any) -> Issuer:
    """Return the issuer of Amazon Cognito. Its access tokens have a client and no audience.

    :param region: such as ``eu-central-1``.
    :param user_pool: the id of the pool, such as ``eu-central-1_AbCdEfGhI``.
    :param clients: the ids of the app clients whose tokens are accepted. Roles are the groups.
    """
    issuer = f"https://cognito-idp.{_host(region, 'region')}.amazonaws.com/{_name(user_pool)}"
    usual = {
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "audience_claim": "client_id",
        "require": {"token_use": "access"},
        "typ_optional": True,
        "scopes": ("scope",),
        "roles": "cognito:groups",
    }
    return _made(issuer, clients, usual, rules)


def keycloak(url: str, realm: str, *, audience: Audience, **rules: Any) -> Issuer:
    """Return the issuer of a Keycloak realm.

    :param url: the URL of the server, such as ``https://sso.example.org``.
    :param audience: the value that an audience mapper puts into ``aud``. Without a mapper:
        ``audience="my-client", audience_claim="azp"``. Roles are those of the realm; those of a
        client: ``roles=("resource_access", "my-client", "roles")``.
    """
    if not isinstance(url, str):
        raise ConfigError("url is that of the server, such as https://sso.example.org")
    issuer = f"{url.rstrip('/')}/realms/{_name(realm)}"
    usual = {
        "jwks_uri": f"{issuer}/protocol/openid-connect/certs",
        "require": {"typ": "Bearer"},
        "scopes": ("scope",),
        "roles": "realm_access.roles",
    }
    return _made(issuer, audience, usual, rules)


def okta(
    domain: str, *, audience: Audience = "api://default", server: str = "default", **rules: Any
) -> Issuer:
    """Return the issuer of an Okta custom authorization server. (Org server tokens are opaque.)

    :param domain: such as ``example.okta.com``.
    :param server: the id of the authorization server.
    """
    issuer = f"https://{_host(domain, 'domain')}/oauth2/{_name(server)}"
    usual = {
        "jwks_uri": f"{issuer}/v1/keys",
        "typ_optional": True,
        "scopes": ("scp",),
        "roles": "groups",
        # Access tokens name the client; ID tokens do not.
        "require": {"cid": "*"},
    }
    return _made(issuer, audience, usual, rules)


def google(client_ids: Audience, *, hosted_domain: str | None = None, **rules: Any) -> Issuer:
    """Return the issuer of Sign in with Google ID tokens. (Its access tokens are opaque.)

    :param client_ids: your client ids, one for each app.
    :param hosted_domain: accept only users of this Google Workspace.
    """
    usual = {
        "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
        "id_tokens": True,
        "scopes": (),
        "require": {} if hosted_domain is None else {"hd": hosted_domain},
    }
    return _made("https://accounts.google.com", client_ids, usual, rules)


def firebase(project: str, **rules: Any) -> Issuer:
    """Return the issuer of Firebase Authentication's ID tokens.

    :param project: the id of the project.
    """
    keys = "service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
    usual = {
        "jwks_uri": f"https://www.googleapis.com/{keys}",
        "scopes": (),
        # Custom tokens, which the project mints itself, have none.
        "require": {"auth_time": "*"},
    }
    issuer = f"https://securetoken.google.com/{_name(project)}"
    return _made(issuer, project, usual, rules)


def _made(issuer: str, audience: Audience, usual: dict[str, Any], rules: dict[str, Any]) -> Issuer:
    """Return the issuer of a preset, with its required claims and those of the caller."""
    if "jwks" in rules:
        usual = {**usual, "jwks_uri": None}
    added = rules.pop("require", None) or {}
    if not isinstance(added, Mapping):
        raise ConfigError('require is a mapping of claims to values, such as {"azp": "my-client"}')
    require = {**usual.get("require", {}), **added}
    return Issuer(issuer, audience=audience, **{**usual, **rules, "require": require})


# --- tables of a configuration file ---------------------------------------------------

PRESETS: dict[str, Callable[..., Issuer]] = {
    "oidc": oidc,
    "auth0": auth0,
    "entra": entra,
    "cognito": cognito,
    "keycloak": keycloak,
    "okta": okta,
    "google": google,
    "firebase": firebase,
}


def from_table(table: Mapping[str, Any]) -> Issuer:
    """Return the issuer of one ``[[jam.issuers]]`` table of :class:`Issuer` arguments.

    With ``preset = "auth0"`` they are the arguments of the preset.

    :raises ConfigError: for an unknown preset or rule, or a missing one.
    """
    if not isinstance(table, Mapping):
        raise ConfigError("write each issuer as a table: [[jam.issuers]]")
    arguments = dict(table)
    preset = arguments.pop("preset", None)
    make = Issuer if preset is None else PRESETS.get(preset) if isinstance(preset, str) else None
    if make is None:
        raise ConfigError(
            f"preset of an issuer is one of {', '.join(PRESETS)}{nearest(preset, PRESETS)}"
        )
    _check_arguments(arguments, make)
    return make(**arguments)


def _check_arguments(arguments: Mapping[str, Any], make: Callable[..., Issuer]) -> None:
    own = inspect.signature(make).parameters
    known = set(own) - {"rules"}
    if "rules" in own:  # a preset, which knows the issuer and the audience, or asks for it
        known |= set(inspect.signature(Issuer).parameters) - {"issuer", "audience"}
    for name in arguments:
        if name not in known:
            raise ConfigError(f"{name} is no rule of an issuer{nearest(name, sorted(known))}")
    for name, parameter in own.items():
        if parameter.default is parameter.empty and name not in {"rules", *arguments}:
            raise ConfigError(f"an issuer needs {name}")


def _host(value: object, what: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", value):
        raise ConfigError(f"{what} is a name without https:// and without a path")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w .~-]+", value):
        raise ConfigError("write the name as its provider shows it, without slashes")
    return value.replace(" ", "%20")
