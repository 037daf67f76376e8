"""Attacks of the catalogue that are no test yet, and what each of them waits for.

A code alone waits as a whole. With a word behind it, ``H10-fetches``, the rest of its line is
tested already and that part waits. Whoever builds what a line waits for takes it out.
"""

from __future__ import annotations

WAITING: dict[str, str] = {
    # 3.6 cache
    "V24": "introspection comes with issuers",
    # 3.7 server-side sessions
    "S22-change": "that a session is used from another browser or address is told to nobody yet",
    "S26-pending": "a login that waits for a second factor has no record of a kind of its own yet",
    "S32": "nobody can act as somebody else yet, so there is no trail of it to keep",
    # 3.8 cookies and cross-site requests
    # 3.10 refresh and revocation
    "R07": "a refresh token is bound to no client and no key yet, so none can be another",
    "R23": "the back-channel logout endpoint comes with issuers",
    # 3.11 routes and policy
}
