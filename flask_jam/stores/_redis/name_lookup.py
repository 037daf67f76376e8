"""Host names resolved within the deadline.

``getaddrinfo`` has no timeout. So it runs in a thread, one for each name at a time, and a caller
that wants the address waits only as long as its deadline allows. A look-up that takes longer goes
on for the next caller. While it does, the last known addresses serve.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from ipaddress import ip_address

from ..._helpers.deadline import time_left
from ..._helpers.fork_lock import fork_safe_lock

#: Look-ups that may run at a time. A process has few names: those of its servers.
_MOST_AT_ONCE = 16
#: Names whose addresses are remembered.
_MOST_KNOWN = 256
#: The share of the time left in which a fresh answer is preferred to the last known one.
_FRESH_SHARE = 0.5


class _Lookup:
    """One call of ``getaddrinfo``, shared by all who want its answer."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.done = threading.Event()
        self.addresses: Sequence[str] = ()
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            found = socket.getaddrinfo(self.host, None, 0, socket.SOCK_STREAM)
            self.addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        except Exception as error:  # raised where it is waited for
            self.error = error
        finally:
            self.done.set()

    def answer(self) -> Sequence[str]:
        if self.error is not None:
            raise OSError("the host name could not be resolved") from self.error
        return self.addresses


class _Resolver:
    """The look-ups of one process, and the addresses that it knows."""

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self.forget()

    def forget(self) -> None:
        """In a child: the threads stayed with the parent."""
        self._running: dict[str, _Lookup] = {}
        self._known: dict[str, Sequence[str]] = {}

    def addresses(self, host: str, usual: float) -> Sequence[str]:
        lookup, known = self._lookup(host), self._known.get(host)
        patience = time_left(usual) * (1.0 if known is None else _FRESH_SHARE)
        if lookup.done.wait(patience):
            return lookup.answer()
        if known is None:
            raise TimeoutError("the host name was not resolved in time")
        return known

    def _lookup(self, host: str) -> _Lookup:
        with self._lock:
            running = self._running.get(host)
            if running is not None:
                return running
            if len(self._running) >= _MOST_AT_ONCE:
                raise TimeoutError("too many host names are being resolved")
            lookup = self._running[host] = _Lookup(host)
        try:
            threading.Thread(target=self._run, args=(lookup,), daemon=True).start()
        except RuntimeError as error:  # there are too many threads, or the interpreter ends
            self._ended(lookup)
            raise OSError("no thread to resolve a host name in") from error
        return lookup

    def _run(self, lookup: _Lookup) -> None:
        lookup.run()
        self._ended(lookup)

    def _ended(self, lookup: _Lookup) -> None:
        with self._lock:
            if self._running.get(lookup.host) is not lookup:
                return
            del self._running[lookup.host]
            if lookup.addresses:
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[lookup.host] = lookup.addresses


_resolver = _Resolver()


def addresses_of(host: str, usual: float) -> Sequence[str]:
    """Return the addresses of a host; an IP address is its own and is not looked up.

    :param usual: seconds to wait where no deadline is set.
    :raises OSError: if it has none, or if they are not known in time.
    """
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return _resolver.addresses(host, usual)
    return (host,)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_resolver.forget)
