"""Conformance tests for authentication schemes: the contract of :mod:`flask_jam.schemes`.

Derive a test class that returns good and bad requests::

    class TestWebhookScheme(SchemeConformance):
        def make_scheme(self):
            return WebhookScheme(SECRET)

        def good_request(self):
            return {"method": "POST", "data": b"{}", "headers": sign(b"{}")}

        def bad_requests(self):
            yield {"method": "POST", "data": b"{!}", "headers": sign(b"{}")}

A request is a ``dict`` of the arguments of :meth:`flask.Flask.test_request_context`. This module
needs pytest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, Request, current_app
from werkzeug.datastructures import Headers

from .._request.current_auth import current_auth
from ..errors import Reason, StoreUnavailable, TokenError
from ..extensions import SchemeExtension
from ..guards import Guard
from ..jam import Jam
from ..schemes import MALFORMED, MISSING, Credential, Requirement, Scheme
from ..schemes.outcome import Accepted

_SECRET = "a-secret-of-the-conformance-suite-0123456789-abcdefghijklmnop"  # noqa: S105
#: What clients send by mistake and attackers on purpose, as the value of each header in ``vary``.
_ODD = ("", " ", "=", ",", ";", "a" * 5000, "\xff\xfe", "a=b,c", "Bearer", "Bearer ", '"', "t=,v1=")
_REQUIREMENTS = (Requirement(), Requirement(("read", "write"), ("admin",), 300))


class SchemeConformance:
    """The conformance tests. Derive a class, and override the three methods below."""

    def make_scheme(self) -> Scheme:
        """Return the scheme under test."""
        raise NotImplementedError

    def good_request(self) -> dict[str, Any]:
        """Return a request that authenticates, as arguments of ``test_request_context``."""
        raise NotImplementedError

    def bad_requests(self) -> Iterable[dict[str, Any]]:
        """Return requests whose credential is forged, expired or damaged."""
        raise NotImplementedError

    # --- the port ---

    def test_a_request_without_a_credential_is_missing(self) -> None:
        """``find`` tells absence from a credential that is wrong."""
        with self._request({"method": self.good_request().get("method", "GET")}) as request:
            assert self.make_scheme().find(request) is MISSING

    def test_a_good_request_authenticates(self) -> None:
        """``authenticate`` returns an ``Accepted`` of this scheme."""
        scheme = self.make_scheme()
        with self._request(self.good_request()) as request:
            credential = self._found(scheme, request)
            accepted = scheme.authenticate(credential, request)
        assert isinstance(accepted, Accepted)
        assert accepted.scheme == scheme.name
        assert accepted.source == credential.source
        assert accepted.subject is None or isinstance(accepted.subject, str)
        assert type(accepted.payload) is dict

    def test_each_payload_is_a_new_one(self) -> None:
        """A view that changes its payload changes no other request."""
        scheme, payloads = self.make_scheme(), []
        for _ in range(2):
            with self._request(self.good_request()) as request:
                payloads.append(scheme.authenticate(self._found(scheme, request), request).payload)
        payloads[0]["changed"] = True
        assert "changed" not in payloads[1]

    def test_a_bad_request_is_refused_with_a_reason(self) -> None:
        """``authenticate`` raises ``TokenError`` and nothing else."""
        scheme, count = self.make_scheme(), 0
        for bad in self.bad_requests():
            count += 1
            with self._request(bad) as request:
                found = scheme.find(request)
                if found is MALFORMED:
                    continue
                assert isinstance(found, Credential), f"{bad}: find returned {found}"
                with pytest.raises(TokenError) as caught:
                    scheme.authenticate(found, request)
                assert isinstance(caught.value.reason, Reason)
        assert count, "bad_requests must return at least one request"

    def test_odd_headers_raise_nothing_unexpected(self) -> None:
        """What a client sends is never an error of the server."""
        scheme, good = self.make_scheme(), self.good_request()
        for name in scheme.vary:
            for value in _ODD:
                headers = Headers(good.get("headers"))
                headers[name] = value
                with self._request({**good, "headers": headers}) as request:
                    _is_accepted(scheme, request)

    def test_vary_names_the_headers_that_are_read(self) -> None:
        """Without them a good request is anonymous."""
        scheme, good = self.make_scheme(), self.good_request()
        assert isinstance(scheme.vary, tuple)
        headers = Headers(good.get("headers"))
        for name in scheme.vary:
            headers.remove(name)
        with self._request({**good, "headers": headers}) as request:
            assert scheme.find(request) is MISSING

    def test_a_credential_shows_nothing_of_itself(self) -> None:
        """Nothing secret is in a ``repr``."""
        scheme = self.make_scheme()
        with self._request(self.good_request()) as request:
            credential = self._found(scheme, request)
        assert str(credential.value) not in repr(credential)
        assert len(credential.fingerprint()) == 8

    def test_a_challenge_is_a_header_value_or_none(self) -> None:
        """For every reason, so that no refusal fails."""
        scheme = self.make_scheme()
        for reason in Reason:
            for requirement in _REQUIREMENTS:
                challenge = scheme.challenge(reason, requirement)
                assert challenge is None or (
                    isinstance(challenge, str) and challenge and challenge.isprintable()
                )

    def test_openapi_describes_it(self) -> None:
        """A Security Scheme Object, or several by name."""
        described = self.make_scheme().openapi()
        objects = [described] if isinstance(described.get("type"), str) else [*described.values()]
        assert objects
        for each in objects:
            assert each["type"] in ("apiKey", "http", "mutualTLS", "oauth2", "openIdConnect")

    # --- behind a guard ---

    def test_its_guard_lets_in_and_refuses(self) -> None:
        """The good request gets in, every other gets 400, 401 or 403, and never 500."""
        app, good = self._guarded(), self.good_request()
        assert _status(app, good) == 200
        without = {"method": good.get("method", "GET")}
        assert _status(app, without) == 401
        for bad in self.bad_requests():
            assert _status(app, bad) in (400, 401), bad

    def test_another_site_is_refused_where_the_credential_is_ambient(self) -> None:
        """A browser attaches it to a request that another site made it send."""
        app, good = self._guarded(), self.good_request()
        headers = Headers(good.get("headers"))
        headers["Sec-Fetch-Site"] = "cross-site"
        is_safe = good.get("method", "GET") in ("GET", "HEAD", "OPTIONS")
        expected = 403 if self._is_ambient() and not is_safe else 200
        assert _status(app, {**good, "headers": headers}) == expected

    # --- helpers ---

    def _is_ambient(self) -> bool:
        scheme = self.make_scheme()
        with self._request(self.good_request()) as request:
            return scheme.ambient or self._found(scheme, request).source == "cookie"

    def _guarded(self) -> Flask:
        app, scheme = Flask("conformance"), self.make_scheme()
        extension = SchemeExtension(scheme, Jam({"jwt": {"secret_key": _SECRET}}), app)
        view = _guarded_view(extension.required)
        app.add_url_rule("/", "view", view, methods=["GET", "POST", "PUT", "DELETE"])
        app.add_url_rule("/<path:rest>", "rest", view, methods=["GET", "POST", "PUT", "DELETE"])
        return app

    @contextmanager
    def _request(self, arguments: dict[str, Any]) -> Iterator[Request]:
        with Flask("conformance").test_request_context(**arguments) as context:
            yield context.request

    def _found(self, scheme: Scheme, request: Request) -> Credential:
        found = scheme.find(request)
        assert isinstance(found, Credential), f"find returned {found}"
        assert found.scheme == scheme.name
        assert isinstance(found.source, str)
        return found


def _is_accepted(scheme: Scheme, request: Request) -> bool:
    found = scheme.find(request)
    if not isinstance(found, Credential):
        assert found in (MISSING, MALFORMED)
        return False
    try:
        return isinstance(scheme.authenticate(found, request), Accepted)
    except (TokenError, StoreUnavailable):
        return False


def _guarded_view(guard: Guard) -> Any:
    def view(rest: str = "") -> str:
        auth = current_auth()
        assert auth is not None
        assert current_app
        return auth.scheme

    return guard(view)


def _status(app: Flask, arguments: dict[str, Any]) -> int:
    with app.test_client().open(**arguments) as response:
        return response.status_code
