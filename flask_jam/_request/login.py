"""Steps that logins of every scheme share: store first, then cookie, then signal.

So nothing is sent or announced before it is durable. A store that does not answer is a 503 here as
on a guarded route: a login that could not be stored has not happened.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from blinker import NamedSignal

from .. import signals
from .._helpers.strict_json import copy_json
from ..errors import Reason, SessionError, StoreUnavailable, TokenError
from ..refusal import refuse
from ..schemes.jwt import JWTScheme
from ..schemes.outcome import Accepted, Credential, Outcome, Rejected, with_user
from ..schemes.transport import TransportScheme
from ..stores.interface import split_owner
from .app_state import AppState
from .cookies import (
    Cookie,
    clear_later,
    clear_site_data_later,
    no_store_later,
    own_cookie,
    refresh_cookies,
)
from .cross_site import is_cross_site, is_from_elsewhere
from .request_auth import current_request_auth


def arrive(
    state: AppState, credential: Credential, accepted: Accepted, signal: NamedSignal
) -> None:
    """Use a new login for the rest of this request: guards and logout then mean that one."""
    current_request_auth().arrive(credential, accepted)
    no_store_later()
    signals.emit(
        signal,
        state.app,
        scheme=credential.scheme,
        subject=accepted.subject,
        payload=copy_json(accepted.payload),
        issuer=accepted.issuer,
    )


def logout(state: AppState, scheme: TransportScheme, *, clear_site_data: bool = False) -> None:
    """End every login of a scheme that this request carries, and clear its cookies."""
    owner: str | None = None
    for credential in _presented(state, scheme):
        with durably(state, scheme, credential):
            ended = scheme.end(credential.value)
        owner = owner if ended is None else ended
    for cookie in cookies_of(state, scheme):
        clear_later(state.app, state.jam.settings, cookie)
    no_store_later()
    if clear_site_data:
        clear_site_data_later()
    if owner is not None:
        current_request_auth().leave(scheme.name)
        subject, issuer = split_owner(owner)
        what = {"scheme": scheme.name, "subject": subject, "issuer": issuer}
        signals.emit(signals.logged_out, state.app, **what)


def cookies_of(state: AppState, scheme: TransportScheme) -> Iterator[Cookie]:
    """Return the cookies that a login of a scheme sets."""
    if scheme.cookie_name is None:
        return
    yield own_cookie(state.jam.settings, scheme.cookie_name)
    if isinstance(scheme, JWTScheme):
        yield from refresh_cookies(
            state.app, state.jam.settings, scheme.cookie_name, scheme.refresh_path
        )


def clear_twins(state: AppState, scheme: TransportScheme) -> None:
    """Clear the host-only cookies of logins from before ``cookie_domain`` was set."""
    settings = state.jam.settings
    if settings.cookie_domain is not None:
        for cookie in cookies_of(state, scheme):
            clear_later(state.app, settings, cookie, host_only=True)


def candidates(state: AppState, scheme: TransportScheme) -> list[Credential]:
    """Return every credential of a scheme in this request, bad ones and duplicates included."""
    auth = current_request_auth()
    issued = auth.issued(scheme.name)
    sent = scheme.candidates(auth.environ)
    return sent if issued is None else [issued, *sent]


def _presented(state: AppState, scheme: TransportScheme) -> list[Credential]:
    """Return the credentials that a logout must end. Refuse a header that carries none."""
    found = candidates(state, scheme)
    if not found or any(each.source != "header" for each in found):
        # Also where no cookie came, as the answer clears it.
        check_site(state, scheme, ends=True)
    outcome = current_request_auth().verdict(scheme.name)
    is_malformed = isinstance(outcome, Rejected) and outcome.reason is Reason.MALFORMED
    if is_malformed and (not found or scheme.has_too_many(current_request_auth().environ)):
        refuse_action(state, outcome)  # type: ignore[arg-type]
    return found


def check_site(state: AppState, scheme: TransportScheme, *, ends: bool = False) -> None:
    """Refuse a cross-site request if the answer changes cookies.

    :param ends: True if it ends a login: then a GET is checked, too, as another site's image tag
        sends one.
    """
    is_foreign = is_from_elsewhere if ends else is_cross_site
    auth = current_request_auth()
    if scheme.cookie_name is not None and is_foreign(auth.environ, auth.trusted()):
        refuse_action(state, Rejected(scheme.name, Reason.CSRF, "cookie"))


@contextmanager
def durably(
    state: AppState, scheme: TransportScheme, credential: Credential | None = None
) -> Iterator[None]:
    """Convert errors that the client caused into refusals; the view author's propagate."""
    try:
        yield
    except StoreUnavailable as error:
        refuse_action(state, _rejected(scheme, credential, error.reason))
    except (TokenError, SessionError) as error:
        if credential is None and error.reason is not Reason.REVOKED:
            raise
        refuse_action(state, _rejected(scheme, credential, error.reason))


def _rejected(scheme: TransportScheme, credential: Credential | None, reason: Reason) -> Rejected:
    if credential is None:
        return Rejected(scheme.name, reason)
    return Rejected(scheme.name, reason, credential.source, credential.fingerprint())


def with_known_user(
    state: AppState, credential: Credential, accepted: Accepted, earlier: Outcome | None = None
) -> Accepted:
    """Return the caller of a refresh, with the user; refuse if ``load_user`` returns none.

    :param earlier: the caller whose user was loaded before the store was changed; it is not
        loaded again.
    """
    if isinstance(earlier, Accepted) and earlier.identity == accepted.identity:
        return with_user(accepted, earlier.user)
    outcome = current_request_auth().load(accepted)
    if isinstance(outcome, Rejected):
        source, fingerprint = credential.source, credential.fingerprint()
        refuse_action(state, outcome._replace(source=source, fingerprint=fingerprint))
    return outcome


def refuse_action(state: AppState, why: Rejected) -> NoReturn:
    """Refuse a login, refresh or logout."""
    # A refused refresh says nothing about the access token, which has the other cookie.
    clears = not isinstance(state.scheme(why.scheme), JWTScheme)
    refuse(state, why, (why.scheme,), clears=clears)
