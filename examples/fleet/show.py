"""Log out on one worker, and see another refuse.

    python examples/fleet/show.py http://127.0.0.1:8000

For a token and for a session: log in on one worker, come in on another, log out on the first, and
ask the second without a pause until it refuses.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

LOGIN = urlencode({"name": "alice", "password": "wonderland"})
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PATIENCE = 5.0

Headers = dict[str, str]


class ShowError(Exception):
    """What was not as it should be."""


class Scheme(NamedTuple):
    """Where the factory example has what."""

    name: str
    login: str
    page: str
    logout: str


SCHEMES = (
    Scheme("token", "/api/login", "/api/articles", "/api/logout"),
    Scheme("session", "/login", "/", "/logout"),
)


class Answer(NamedTuple):
    """What came back, and from whom."""

    status: int
    worker: str
    cookie: str
    body: bytes


class Worker:
    """A connection that is kept open: all its requests come to one worker."""

    def __init__(self, url: str) -> None:
        self.connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
        self.name = ""
        self.name = self.ask("GET", "/login").worker

    def ask(
        self, method: str, path: str, headers: Headers | None = None, body: str | None = None
    ) -> Answer:
        """One request; it is an error if somebody else answers."""
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        worker, cookie = response.headers["X-Worker"], response.headers.get("Set-Cookie", "")
        if self.name not in ("", worker):
            raise ShowError(f"worker {worker} answered instead of {self.name}")
        return Answer(response.status, worker, cookie, response.read())

    def log_in(self, scheme: Scheme) -> Headers:
        """The header that is the credential."""
        answer = self.ask("POST", scheme.login, FORM, LOGIN)
        if scheme.name == "session":
            return {"Cookie": answer.cookie.partition(";")[0]}
        return {"Authorization": f"Bearer {json.loads(answer.body)['access_token']}"}


def two_workers(url: str, opened: ExitStack) -> tuple[Worker, Worker]:
    """Two connections that ended up with different workers. Who takes one is up to chance."""
    first = _connect(url, opened)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        other = _connect(url, opened)
        if other.name != first.name:
            return first, other
    raise ShowError(f"only worker {first.name} answers; are there others?")


def _connect(url: str, opened: ExitStack) -> Worker:
    worker = Worker(url)
    opened.enter_context(closing(worker.connection))
    return worker


def show(scheme: Scheme, one: Worker, other: Worker) -> Iterator[str]:
    """The story of one login, line by line."""
    credential = one.log_in(scheme)
    _expect(200, status := other.ask("GET", scheme.page, credential).status)
    yield f"{scheme.name}: logged in on worker {one.name}; worker {other.name} answers {status}"

    asked = time.perf_counter()
    left = one.ask("POST", scheme.logout, credential).status
    logged_out = time.perf_counter()
    if left not in (204, 303):
        raise ShowError(f"the logout was answered {left}")
    took = (logged_out - asked) * 1000
    yield f"{scheme.name}: logged out on worker {one.name}, which took {took:.1f} ms"

    let_in = 0
    while (status := other.ask("GET", scheme.page, credential).status) == 200:
        let_in += 1
        if time.perf_counter() - logged_out > PATIENCE:
            raise ShowError(f"worker {other.name} still lets it in")
    took = (time.perf_counter() - logged_out) * 1000
    _expect(401, status)
    yield (
        f"{scheme.name}: worker {other.name} answers {status}, {took:.1f} ms after the logout"
        f" ({let_in} requests let in meanwhile)"
    )


def _expect(wanted: int, got: int) -> None:
    if got != wanted:
        raise ShowError(f"the answer was {got} and not {wanted}")


def main(arguments: Sequence[str]) -> int:
    """Show both schemes."""
    if len(arguments) != 1:
        print("usage: show.py URL", file=sys.stderr)
        return 2
    try:
        with ExitStack() as opened:
            one, other = two_workers(arguments[0], opened)
            for scheme in SCHEMES:
                for line in show(scheme, one, other):
                    print(line, flush=True)
    except (ShowError, OSError) as error:
        print(f"show: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
