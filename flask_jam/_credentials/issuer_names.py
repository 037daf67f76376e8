"""The names of issuers: which of them a guard means, and where one describes itself."""

from __future__ import annotations

from .issuer import ANY_TENANT, TENANT, Issuer


def is_named(issuer: str, name: str) -> bool:
    """Return True if a guard that names an issuer means this one; ``{tenantid}`` is any tenant."""
    before, is_template, after = name.partition(TENANT)
    if not is_template:
        return issuer == name
    tenant = issuer[len(before) : len(issuer) - len(after)]
    return f"{before}{tenant}{after}" == issuer and bool(tenant) and "/" not in tenant


def metadata_url(rules: Issuer) -> str | None:
    """Return the address of OpenID Connect Discovery; None if it cannot be known."""
    issuer, tenants = rules.issuer, rules.tenants or ()
    if tenants:
        if len(tenants) != 1 or ANY_TENANT in tenants:
            return None
        issuer = rules.of_tenant(next(iter(tenants)))
    if rules.jwks is not None or "://" not in issuer:
        return None
    return f"{issuer.rstrip('/')}/.well-known/openid-configuration"
