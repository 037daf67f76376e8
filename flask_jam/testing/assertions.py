"""Assertions whose failure message shows what happened instead."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from flask import Flask
from werkzeug.wrappers import Response

from .._helpers.names import nearest
from .._request.negotiation import PROBLEM
from ..audit import open_routes, overridden_guards
from ..errors import ConfigError, Reason
from ..refusal import refusal
from .client import rejections
from .events import real_app

_ERROR = re.compile(r'\berror="([^"]*)"')
#: How much of a body a message shows.
_SHOWN = 200


class _Expected(NamedTuple):
    reason: Reason
    status: int
    error: str


def assert_refused(response: Response, reason: Reason | str) -> None:
    """Assert that a guard refused with the status, the error and the exact reason.

    A client is told less than the reason: only an answer to a
    :class:`~flask_jam.testing.JamClient` records it. For any other client, status and error are
    compared. Where the app has a ``login_view``, a redirect to it counts as the 401.

    :param reason: a member of :class:`~flask_jam.Reason`, or its string.
    """
    __tracebackhide__ = True
    expected = _expected(reason)
    differences = list(_differences(response, expected))
    if differences:
        raise AssertionError(
            f"expected to be refused: {expected.reason} ({expected.status} {expected.error})\n"
            + "\n".join([*differences, *_described(response)])
        )


def _expected(reason: Reason | str) -> _Expected:
    try:
        found = Reason(reason)
    except ValueError:
        raise ConfigError(
            f"reason: {reason} is none{nearest(reason, [each.value for each in Reason])}"
        ) from None
    refused = refusal(found, "")
    return _Expected(found, refused.code or 0, refused.error)


def _differences(response: Response, expected: _Expected) -> Iterator[str]:
    noted, to_login = rejections(response), False
    if noted is not None:
        last = noted[-1].reason if noted else None
        to_login = expected.status == 401 and _is_redirect(response)
        if last is not expected.reason:
            yield "but no guard refused it" if last is None else f"but the reason was: {last}"
    if response.status_code != expected.status and not to_login:
        yield f"but the status was: {response.status_code}"
    error = _error_of(response)
    if error not in (None, expected.error):
        yield f"but the error was: {error}"


def _is_redirect(response: Response) -> bool:
    return response.status_code in (302, 303) and "Location" in response.headers


def _error_of(response: Response) -> str | None:
    """Return the error code in the body or the challenge; ``None`` if neither is ours."""
    if response.mimetype == PROBLEM:
        body = response.get_json(silent=True)
        return body.get("error") if isinstance(body, dict) else None
    challenge = response.headers.get("WWW-Authenticate", "")
    if not challenge.startswith("Bearer "):
        return None
    found = _ERROR.search(challenge)
    return "missing_credential" if found is None else found[1]


def _described(response: Response) -> Iterator[str]:
    """Yield the lines of the answer that explain the failure."""
    yield f"the response: {response.status}"
    for name in ("Content-Type", "Location", "WWW-Authenticate"):
        if name in response.headers:
            yield f"  {name}: {response.headers[name]}"
    body = response.get_data(as_text=True)
    if body:
        yield f"  {body[:_SHOWN]}" + ("…" if len(body) > _SHOWN else "")
    if rejections(response) is None:
        yield "(not the answer to a JamClient: the reason itself cannot be seen)"


def assert_all_protected(app: Flask) -> None:
    """Assert that each route has a guard or is marked ``@public``; else list those that do not.

    Warn about decorators above a guard that may answer without asking it, as a cache does.
    """
    __tracebackhide__ = True
    real = real_app(app)
    for sentence in overridden_guards(real):
        warnings.warn(sentence, RuntimeWarning, stacklevel=2)
    found = open_routes(real)
    if found:
        listed = [
            f"  {','.join(route.methods)} {route.rule} → {route.endpoint} ({route.source})"
            for route in found
        ]
        raise AssertionError(
            "open, and not marked @public:\n" + "\n".join(listed) + "\nguard them, or mark them"
        )
