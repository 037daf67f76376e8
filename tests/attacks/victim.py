"""The app under attack, and what counts as a right refusal."""

from __future__ import annotations

import functools
import json
from typing import Any, NamedTuple

from flask import Flask
from werkzeug.test import TestResponse

from flask_jam import Jam, signals

from ..conftest import Clock, build_app
from .forge import Signer, signer, unb64

COOKIE = "token"


class Answer(NamedTuple):
    """All that a client gets to see of a refusal."""

    status: int
    challenge: str | None
    body: dict[str, Any]


def _answer(status: int, title: str, detail: str, error: str, challenge: str | None) -> Answer:
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail,
            "error": error}  # fmt: skip
    return Answer(status, challenge, body)


#: One answer for every way in which a token can be wrong.
INVALID = _answer(
    401, "Unauthorized", "The credential is not valid.", "invalid_token",
    'Bearer realm="api", error="invalid_token", '
    'error_description="The credential is not valid."',
)  # fmt: skip
EXPIRED = _answer(
    401, "Unauthorized", "The credential has expired.", "invalid_token",
    'Bearer realm="api", error="invalid_token", error_description="The credential has expired."',
)  # fmt: skip
MALFORMED = _answer(
    400, "Bad Request", "The request carries its credential in a wrong form.", "invalid_request",
    'Bearer realm="api", error="invalid_request"',
)  # fmt: skip
MISSING = _answer(
    401, "Unauthorized", "Authentication is required.", "missing_credential",
    'Bearer realm="api"',
)  # fmt: skip

_TOLD = {MALFORMED.challenge: "malformed", MISSING.challenge: "missing"}

#: Routes of :func:`tests.conftest.build_app` that a token opens; one also lets nobody in.
GUARDED = ("/jwt", "/optional")


class Victim:
    """An app with a JWT in the header or in a cookie, whose key the attack may know."""

    def __init__(self, jam: Jam, signer: Signer, clock: Clock) -> None:
        self.jam = jam
        self.clock = clock
        self.app: Flask = build_app(jam, cookie_name=COOKIE)
        self.client = self.app.test_client(use_cookies=False)
        self.reasons: list[str] = []
        self._record = lambda _sender, reason, **_extra: self.reasons.append(str(reason))
        signals.rejected.connect(self._record, self.app)
        #: The app's own key under the name that the app gives it.
        self.signer = Signer(signer.name, signer.key, self.own_kid())

    @classmethod
    def of(cls, name: str, clock: Clock, **jwt: Any) -> Victim:
        own = signer(name)
        return cls(Jam({"jwt": {**own.settings(), **jwt}}, clock=clock), own, clock)

    def own_kid(self) -> str:
        header = self.jam.gen_jwt_token({"sub": "alice"}).partition(".")[0]
        return str(json.loads(unb64(header))["kid"])

    def get(self, path: str, header: str | None = None, cookie: str | None = None) -> TestResponse:
        """A request whose header and cookie are on the wire as they are given.

        They go straight into the environ: the test client would refuse or mend half of them, and
        a lenient server would not.
        """
        environ = {"HTTP_AUTHORIZATION": header, "HTTP_COOKIE": cookie}
        given = {name: value for name, value in environ.items() if value is not None}
        return self.client.get(path, environ_overrides=given)

    def both(self, path: str, token: str) -> tuple[TestResponse, TestResponse]:
        """The answers to a token in the header and in the cookie."""
        return self.get(path, f"Bearer {token}"), self.get(path, cookie=f"{COOKIE}={token}")

    def accepts(self, token: str) -> dict[str, Any]:
        """Let in by header and by cookie; the payload that the view saw."""
        in_header, in_cookie = self.both("/jwt", token)
        for response in (in_header, in_cookie):
            assert response.status_code == 200, (response.data, self.reasons[-1:])
        assert in_header.json == in_cookie.json
        return dict(in_header.json["payload"])

    def refuses(
        self,
        token: str,
        *,
        reason: str = "invalid",
        header: Answer = INVALID,
        cookie: Answer = INVALID,
    ) -> None:
        """Refused on every guarded route, by header and by cookie, and nobody on an open one.

        :param reason: what the signal tells where the answer is 401.
        """
        if len(f"{COOKIE}={token}") > 4 * 65536:
            cookie = MALFORMED  # no browser sends such a header, so nothing in it is looked at
        kept = self.jam.verifier.cache_info().currsize
        for path in GUARDED:
            del self.reasons[:]
            for response, answer in zip(self.both(path, token), (header, cookie), strict=True):
                if answer is MISSING and path == "/optional":
                    assert response.status_code == 200
                    assert response.json["payload"] is None
                else:
                    check_refusal(response, answer)
                    told = _TOLD.get(answer.challenge, reason)
                    assert self.reasons.pop(0) == told
            assert self.reasons == []
        for response in self.both("/open", token):
            assert response.status_code == 200
            assert response.json == {"payload": None, "scheme": None, "subject": None}
        assert self.jam.verifier.cache_info().currsize == kept, "a refusal was cached"

    def malformed(self, token: str) -> None:
        """No token68, so a bad request (400) in the header; in the cookie a bad token like any."""
        self.refuses(token, header=MALFORMED)


def check_refusal(response: TestResponse, answer: Answer) -> None:
    """The whole answer: status, challenge, body, and no more than that."""
    assert response.status_code == answer.status, response.data
    challenges = [] if answer.challenge is None else [answer.challenge]
    assert response.headers.getlist("WWW-Authenticate") == challenges
    assert response.mimetype == "application/problem+json"
    assert response.json == answer.body
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Vary"]
    others = {"Content-Type", "Content-Length", "Cache-Control", "Vary"}
    assert set(response.headers.keys()) - others <= {"WWW-Authenticate"}


@functools.cache
def shared_victim(name: str, **jwt: Any) -> Victim:
    return Victim.of(name, Clock(), **jwt)
