"""Issuer names: matching them against guards, and the URL of their metadata."""

from __future__ import annotations

from typing import Any

#: In an issuer of Microsoft Entra: the tenant, which the claim ``tid`` names.
TENANT = "{tenantid}"
#: In place of a list of tenants.
ANY_TENANT = "any"


def is_named(issuer: str, name: str) -> bool:
    """Return True if a guard's issuer name means this one; ``{tenantid}`` is any tenant."""
    before, is_template, after = name.partition(TENANT)
    if not is_template:
        return issuer == name
    tenant = issuer[len(before) : len(issuer) - len(after)]
    return f"{before}{tenant}{after}" == issuer and bool(tenant) and "/" not in tenant


def names_of(named: Any) -> tuple[str, ...]:
    """Return each ``iss`` that an ``Issuer`` stands for; ``{tenantid}`` only for any tenant.

    Two Issuers of Microsoft Entra have one ``issuer`` and differ in their tenants. What is no
    Issuer is returned as it is.
    """
    issuer, tenants = getattr(named, "issuer", named), getattr(named, "tenants", None) or ()
    if not tenants or ANY_TENANT in tenants:
        return (issuer,)
    return tuple(named.of_tenant(tenant) for tenant in tenants)


def metadata_url(rules: Any) -> str | None:
    """Return the OpenID Connect Discovery URL of an ``Issuer``; None if it is unknown."""
    issuer, tenants = rules.issuer, rules.tenants or ()
    if tenants:
        if len(tenants) != 1 or ANY_TENANT in tenants:
            return None
        issuer = rules.of_tenant(next(iter(tenants)))
    if rules.jwks is not None or "://" not in issuer:
        return None
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"
