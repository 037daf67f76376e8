"""How soon other processes refuse what was revoked, also where they cannot hear of it.

    python -m tests.benchmarks.propagation [--processes N] [--revokes N] [--repeats N]

It needs a ``redis-server``, which it starts on loopback.

**Propagation.** Each process has let in each token before, so that its near cache knows that
nothing was against it. Tokens are revoked one after the other; each process asks for the same one
again and again, with a pause of a millisecond, until it is refused. Counted is from the moment when
the revocation returned until the refusal was there. The same is done with API keys.

**A link that is cut.** Each process asks for a token and a session again and again; then its way to
Redis is cut, and right after that both are revoked on a way that is not. Counted is until the last
time that any process let in either. There is nobody who could revoke at a server that is stopped:
there it is counted from the stop.

**What it cannot tell.** All processes share the processors of one machine: what a revocation needs
is mostly the time until a process is given one.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import logging
import math
import multiprocessing
import os
import random
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from flask_jam import Jam, StoreUnavailable, TokenError
from tests.servers import Proxy, RedisServer

SECRET = "a-key-of-this-benchmark-0123456789-0123456789-0123456789"
SILENCE = 1.0
TIMEOUT = 0.25
#: Between two questions of a process.
PAUSE = 0.001
#: A helper that is silent for so long is taken for dead.
PATIENCE = 30.0
#: So long after the bound we still look whether anybody is let in.
AFTER = 0.3
#: Revocations per second while propagation is measured.
RATE = 100.0

# One clock for all processes of a machine.
now = time.monotonic


class Where(NamedTuple):
    """A way to Redis, how long it may be silent, and how long a question may take."""

    url: str
    silence: float = SILENCE
    timeout: float = TIMEOUT


def make_jam(where: Where) -> Jam:
    """All processes have one key and one Redis."""
    return Jam({"jwt": {"secret_key": SECRET}, "redis_url": where.url,
                "redis_timeout": where.timeout, "near_cache_silence": where.silence})  # fmt: skip


#: The one that a process keeps for all its orders.
jam_at = cache(make_jam)


@contextmanager
def a_jam(where: Where) -> Iterator[Jam]:
    """One that is closed in the end."""
    jam = make_jam(where)
    try:
        yield jam
    finally:
        jam.store.close()  # type: ignore[attr-defined]


def believes(jam: Jam) -> bool:
    """Whether the near cache is in use at this moment."""
    link = jam.store.link  # type: ignore[attr-defined]
    return bool(now() - link.view.as_of < jam.settings.near_cache_silence)


# --- what a process is asked to do ----------------------------------------------------


def let_in(jam: Jam, credential: str) -> bool | None:
    """Whether a token, an API key or a session id is good; ``None``: Redis did not say."""
    try:
        if credential.startswith("jam_"):
            return jam.api_keys.lookup(credential) is not None
        if "." not in credential:
            return jam.get_session(credential) is not None
        jam.verify_jwt_token(credential)
    except TokenError:
        return False
    except StoreUnavailable:
        return None
    return True


def warm(where: Where, credentials: Sequence[str]) -> int:
    """Come to know all of them; who did."""
    jam, end = jam_at(where), now() + PATIENCE
    while not (all(let_in(jam, each) for each in credentials[:1]) and believes(jam)):
        if now() > end:
            raise TimeoutError("the near cache has no link")
        time.sleep(PAUSE)
    for each in (*credentials, *credentials):
        if not let_in(jam, each):
            raise RuntimeError("not let in before anything was revoked")
    return os.getpid()


def refusals(where: Where, credentials: Sequence[str]) -> list[float]:
    """When each of them was refused, in that order."""
    return [_refused_at(jam_at(where), each) for each in credentials]


def _refused_at(jam: Jam, credential: str) -> float:
    end = now() + PATIENCE
    while let_in(jam, credential) is not False:
        if now() > end:
            raise TimeoutError("never refused")
        time.sleep(PAUSE)
    return now()


def jam_closed(where: Where) -> None:
    """Hang up. Another question would connect anew."""
    jam_at(where).store.close()  # type: ignore[attr-defined]


class Last(NamedTuple):
    """The last time that something was let in: when it was asked, when the answer was there."""

    asked: float
    answered: float


def last_let_in(where: Where, credentials: Sequence[str], until: float) -> Last:
    """Ask for all of them, again and again until then."""
    jam, last = jam_at(where), Last(0.0, 0.0)
    while now() < until:
        for each in credentials:
            asked = now()
            if let_in(jam, each):
                last = Last(asked, now())
        time.sleep(PAUSE)
    return last


# --- processes ------------------------------------------------------------------------


def serve(pipe: Connection) -> None:
    """Do what is ordered, until there are no more orders."""
    logging.disable()  # that Redis does not answer is what we are here for
    with pipe:
        while (order := pipe.recv()) is not None:
            job, arguments = order
            try:
                pipe.send((job(*arguments), None))
            except Exception as error:
                pipe.send((None, repr(error)))


class Orders:
    """Our end of a helper's pipe."""

    def __init__(self, pipe: Connection) -> None:
        self.pipe = pipe

    def give(self, job: Callable[..., Any], *arguments: Any) -> None:
        """Have it begin."""
        self.pipe.send((job, arguments))

    def take(self) -> Any:
        """What became of it."""
        if not self.pipe.poll(PATIENCE):
            raise TimeoutError("a helper does not answer")
        result, error = self.pipe.recv()
        if error is not None:
            raise RuntimeError(error)
        return result

    def do(self, job: Callable[..., Any], *arguments: Any) -> Any:
        """Both."""
        self.give(job, *arguments)
        return self.take()

    def close(self) -> None:
        """No more orders."""
        with suppress(OSError):  # it has ended before
            self.pipe.send(None)
        self.pipe.close()


# Not forked: this process has connections and threads that are not for them.
_context = multiprocessing.get_context("spawn")


@contextmanager
def helper(target: Callable[..., None], *arguments: Any, pipes: int = 1) -> Iterator[list[Orders]]:
    """A process that runs ``target(*arguments, *pipes)``, and our ends of the pipes."""
    pairs = [_context.Pipe() for _ in range(pipes)]
    process = _context.Process(target=target, args=(*arguments, *(pair[1] for pair in pairs)))
    process.start()
    for _, theirs in pairs:
        theirs.close()
    orders = [Orders(ours) for ours, _ in pairs]
    try:
        yield orders
    finally:
        for each in orders:
            each.close()
        process.join(5)
        if process.exitcode is None:
            process.kill()
            process.join()
        process.close()


@contextmanager
def processes(count: int) -> Iterator[list[Orders]]:
    """So many, each with a Jam of its own for each place where it is sent."""
    with ExitStack() as held:
        yield [held.enter_context(helper(serve))[0] for _ in range(count)]


def all_of(helpers: Sequence[Orders], job: Callable[..., Any], *arguments: Any) -> list[Any]:
    for each in helpers:
        each.give(job, *arguments)
    return [each.take() for each in helpers]


# --- propagation ----------------------------------------------------------------------


class Made(NamedTuple):
    """A credential, and how it is revoked."""

    credential: str
    revoke: Callable[[], object]


def a_token(jam: Jam, subject: str) -> Made:
    """Issue an access token."""
    token = jam.issue_tokens(subject)["access_token"]
    return Made(token, lambda: jam.revoke_token(token))


def an_api_key(jam: Jam, subject: str) -> Made:
    """Create an API key."""
    key, info = jam.create_api_key(subject, name="script")
    return Made(key, lambda: jam.revoke_api_key(subject, info.handle))


KINDS = {"token": a_token, "API key": an_api_key}


def propagation(
    helpers: Sequence[Orders], where: Where, revokes: int, kind: str = "token"
) -> list[float]:
    """Seconds from the return of each revocation until each process refused, sorted."""
    with a_jam(where) as jam:
        made = [KINDS[kind](jam, f"user-{n}") for n in range(revokes)]
        credentials = [each.credential for each in made]
        all_of(helpers, warm, where, credentials)
        for each in helpers:
            each.give(refusals, where, credentials)
        returned = [_revoked_at(each) for each in made]
        refused = [each.take() for each in helpers]
    return sorted(
        max(0.0, at - then) for row in refused for at, then in zip(row, returned, strict=True)
    )


def _revoked_at(made: Made) -> float:
    time.sleep(1 / RATE)
    made.revoke()
    return now()


# --- a link that is cut ---------------------------------------------------------------


class Stage(NamedTuple):
    """Where processes look, where somebody revokes, and how the first is cut off."""

    watched_url: str
    #: ``None``: nobody can revoke while it is cut.
    revoked_url: str | None
    cut: Callable[[], None]
    mend: Callable[[], None]


@contextmanager
def _proxied(cut: str, mend: str | None = None) -> Iterator[Stage]:
    with RedisServer() as server, Proxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        undo = getattr(proxy, mend) if mend else lambda: None
        yield Stage(url, server.url, getattr(proxy, cut), undo)


@contextmanager
def reset() -> Iterator[Stage]:
    """Connections are reset; new ones may be made."""
    with _proxied("cut") as stage:
        yield stage


@contextmanager
def refused() -> Iterator[Stage]:
    """Connections are reset, and new ones refused."""
    with _proxied("refuse", "accept") as stage:
        yield stage


@contextmanager
def swallowed() -> Iterator[Stage]:
    """Connections stay open, and a proxy in between lets nothing through."""
    with _proxied("freeze", "thaw") as stage:
        yield stage


@contextmanager
def stopped() -> Iterator[Stage]:
    """The server is stopped by SIGSTOP."""
    with RedisServer() as server:
        yield Stage(server.url, None, server.pause, server.resume)


@contextmanager
def unplugged() -> Iterator[Stage]:
    """The kernel drops every packet: in a network namespace, its one interface is taken down.

    A Unix socket is no network: there it can be revoked.
    """
    options = ("--unixsocket", "redis.sock", "--unixsocketperm", "700")
    with RedisServer(options=options) as server:
        yield Stage(
            server.url, f"unix://{server.socket_path}",
            lambda: set_loopback(up=False), lambda: set_loopback(up=True),
        )  # fmt: skip


#: The ways, by what the table calls them; and whether one needs a network namespace of its own.
CUTS: dict[str, tuple[Callable[[], Any], bool]] = {
    "connections reset": (reset, False),
    "connections reset, new ones refused": (refused, False),
    "nothing passes, connections stay open": (swallowed, False),
    "the kernel drops every packet": (unplugged, True),
    "the server is stopped (SIGSTOP)": (stopped, False),
}


class Late(NamedTuple):
    """How long after a revocation anybody was still let in; negative: only before."""

    asked: float
    answered: float


def lateness(helpers: Sequence[Orders], stage: Stage, silence: float, repeats: int) -> list[Late]:
    """For each repeat the longest of all processes."""
    watched = Where(stage.watched_url, silence)
    with a_jam(Where(stage.revoked_url or stage.watched_url, silence)) as jam:
        return [_late_once(helpers, stage, watched, jam, str(n)) for n in range(repeats)]


def _late_once(
    helpers: Sequence[Orders], stage: Stage, watched: Where, jam: Jam, subject: str
) -> Late:
    token = jam.issue_tokens(subject)["access_token"]
    credentials = [token, jam.create_session(subject, {"user": subject})]
    all_of(helpers, warm, watched, credentials)
    # A cut may hit the link at any moment between two of its questions.
    pause = 0.1 + random.random() * watched.silence / 4
    for each in helpers:
        each.give(last_let_in, watched, credentials, now() + pause + watched.silence + AFTER)
    time.sleep(pause)
    with _cut(stage):
        if stage.revoked_url is not None:
            jam.revoke_subject(subject)
        since = now()
        last = [each.take() for each in helpers]
    if any(each.asked == 0.0 for each in last):
        raise RuntimeError("not let in before the cut: nothing was measured")
    return Late(max(each.asked for each in last) - since,
                max(each.answered for each in last) - since)  # fmt: skip


@contextmanager
def _cut(stage: Stage) -> Iterator[None]:
    stage.cut()
    try:
        yield
    finally:
        stage.mend()


# --- a network of its own -------------------------------------------------------------

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def _network() -> str:
    try:
        return os.readlink("/proc/self/ns/net")
    except OSError:
        return "the only one"


#: The one that others use, too.
_HOME = _network()


def set_loopback(*, up: bool) -> None:
    """Take the loopback interface of a namespace of our own up or down."""
    if _network() == _HOME:
        raise RuntimeError("this is the machine's own loopback")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        asked = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(sock, _SIOCGIFFLAGS, asked))
        flags = flags | _IFF_UP if up else flags & ~_IFF_UP
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags))


def enter_namespace() -> str | None:
    """Give this process, and those that it starts, a network with nothing but loopback.

    :returns: why there is none, where the machine does not allow it.
    """
    if sys.platform != "linux":
        return "there are network namespaces on Linux only"
    flags = _CLONE_NEWNET if os.geteuid() == 0 else _CLONE_NEWUSER | _CLONE_NEWNET
    if ctypes.CDLL(None, use_errno=True).unshare(flags) != 0:
        return f"no network namespace: {os.strerror(ctypes.get_errno())}"
    set_loopback(up=True)
    return None


class NotAllowedError(Exception):
    """The machine does not let us measure this."""


def measured(helpers: Sequence[Orders], name: str, silence: float, repeats: int) -> list[Late]:
    """What :func:`lateness` finds for one of the ways to cut a link.

    :raises NotAllowedError: where there may be no network namespace.
    """
    make_stage, needs_namespace = CUTS[name]
    if needs_namespace:
        return _measured_in_namespace(len(helpers), name, silence, repeats)
    with make_stage() as stage:
        return lateness(helpers, stage, silence, repeats)


def _measured_in_namespace(count: int, name: str, silence: float, repeats: int) -> list[Late]:
    with helper(serve) as (inside,):
        if refusal := inside.do(enter_namespace):
            raise NotAllowedError(refusal)
        return list(inside.do(_measured_inside, count, name, silence, repeats))


def _measured_inside(count: int, name: str, silence: float, repeats: int) -> list[Late]:
    with CUTS[name][0]() as stage, processes(count) as helpers:
        return lateness(helpers, stage, silence, repeats)


# --- the report -----------------------------------------------------------------------


def percentile(values: Sequence[float], part: float) -> float:
    """Of sorted values, the one that so many percent do not exceed."""
    return values[max(0, math.ceil(len(values) * part / 100) - 1)]


def propagation_table(
    times: Sequence[float], count: int, revokes: int, kind: str = "token"
) -> Iterator[str]:
    """Milliseconds."""
    yield (
        f"{revokes} revocations of one {kind} each, seen by {count} processes, "
        "in ms after the revocation returned"
    )
    yield f"{'median':>10}{'p99':>10}{'longest':>10}"
    figures = (statistics.median(times), percentile(times, 99), times[-1])
    yield "".join(f"{seconds * 1000:10.2f}" for seconds in figures)


def late_line(name: str, found: Sequence[Late], silence: float) -> str:
    """Seconds, of one way to cut."""
    asked, answered = max(each.asked for each in found), max(each.answered for each in found)
    verdict = "" if asked <= silence else "  LONGER THAN THE BOUND"
    return f"  {name:40}{max(0.0, asked):10.3f}{max(0.0, answered):12.3f}{silence:10.1f}{verdict}"


def run(options: argparse.Namespace) -> Iterator[str]:
    """All of it, line by line as it is found."""
    count, repeats = options.processes, options.repeats
    yield f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.2f} at the start"
    with processes(count) as helpers:
        for kind in KINDS:
            with RedisServer() as server:
                times = propagation(helpers, Where(server.url), options.revokes, kind)
            yield from propagation_table(times, count, options.revokes, kind)
            yield ""
        if not repeats:
            return
        yield f"link cut, {repeats} times each, {count} processes: still let in, in seconds"
        yield "after the revocation (after the stop, where nobody can revoke), at the latest"
        yield f"  {'':40}{'asked':>10}{'answered':>12}{'bound':>10}"
        for name in CUTS:
            yield _row(helpers, name, repeats)


def _row(helpers: Sequence[Orders], name: str, repeats: int) -> str:
    try:
        return late_line(name, measured(helpers, name, SILENCE, repeats), SILENCE)
    except NotAllowedError as error:
        return f"  {name:40}not measured: {error}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="How soon a revocation is seen elsewhere.")
    add = parser.add_argument
    add("--processes", type=int, default=8, help="that watch (8)")
    add("--revokes", type=int, default=200, help="while all is well (200)")
    add("--repeats", type=int, default=4, help="of each way to cut the link (4; 0 for none)")
    for line in run(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
