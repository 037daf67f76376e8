"""State of one app: its Jam, its schemes, and the checks that run at its first request."""

from __future__ import annotations

import codecs
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Flask, Request
from werkzeug.routing import Rule

from .._helpers.fork_lock import Gate
from ..errors import ConfigError
from ..jam import Jam
from ..schemes.interface import Scheme, registration_of
from ..schemes.outcome import Accepted
from ..schemes.transport import TransportScheme
from ..stores.memory import MemoryStore
from .flask_internals import remove_hook
from .user_loader import LoadUser
from .werkzeug_internals import get_request

_log = logging.getLogger("flask_jam")

EXTENSION_KEY = "flask_jam"
#: A rule may accept any word as method, so the cache needs a bound.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class AppState:
    """The state of one app, in ``app.extensions["flask_jam"]``."""

    def __init__(self, app: Flask, jam: Jam) -> None:
        self.app = app
        self.jam = jam
        self.schemes: dict[str, Scheme] = {}
        self.owners: dict[str, object] = {}
        #: Run once, at the first request, when all routes are known; each may raise ConfigError.
        self.start_checks: list[Callable[[AppState], None]] = []
        #: The request headers on which answers depend.
        self.vary: tuple[str, ...] = ()
        #: ``Cache-Control`` of an answer that depends on the caller, if the view set none.
        self.private: list[tuple[str, str]] = [("Cache-Control", "no-store")]
        self._checked = False
        self._checking = Gate()
        # Werkzeug imports it within the first request, and a child that is forked within an import
        # waits for ever to import the same.
        codecs.lookup("idna")
        #: Returns the guards in front of a rule; set by the extension, as guards rank above this.
        self.guards_in_front: Callable[[Flask, Rule, str], Iterable[Any]] = lambda *_: ()
        self._orders: dict[tuple[str, str], tuple[str, ...]] = {}
        #: The ``load_user`` of each scheme. Empty if no extension has one.
        self.loaders: Mapping[str, LoadUser] = {}
        self._own_loaders: Mapping[str, LoadUser] = {}
        #: The ``owner_grants`` of each API key scheme, or None.
        self.owner_grants: Mapping[str, Callable[[Accepted], Any] | None] = {}
        #: The class that resolves a request once there is a loader; set by the extension.
        self.auth_class: Any = None
        #: That class, if it is not the usual one.
        self.loading_class: Any = None

    def add(self, owner: object, scheme: Scheme) -> None:
        """Register a scheme for the extension that owns it."""
        self._check_cookies(scheme)
        self.owners[scheme.name] = owner
        self.schemes[scheme.name] = scheme
        for each in self.transports():
            each.share_header(self.schemes.values())
        read = {name.title(): name for each in self.schemes.values() for name in each.vary}
        self.vary = tuple(sorted(read.values()))
        self.private = [*self.private[:1], ("Vary", ", ".join(self.vary))][: 1 + bool(read)]
        self._share_loaders()

    def use_loader(self, name: str, load_user: LoadUser) -> None:
        """Register the function that loads the users of a scheme, and of those without a loader."""
        self._own_loaders = {**self._own_loaders, name: load_user}
        self._share_loaders()

    def _share_loaders(self) -> None:
        """Give each scheme its own loader, else that of the first extension with one."""
        own = self._own_loaders
        first = next((own[name] for name in self.schemes if name in own), None)
        if first is not None:
            self.loaders = {name: own.get(name, first) for name in self.schemes}

    def _check_cookies(self, scheme: Scheme) -> None:
        names = set(scheme.cookie_names()) if isinstance(scheme, TransportScheme) else set()
        for other in self.transports():
            for cookie in names.intersection(other.cookie_names()):
                raise ConfigError(f"two extensions read the cookie {cookie!r}: give each its own")

    def transports(self) -> list[TransportScheme]:
        """Return the schemes that read a Bearer header or a cookie."""
        return [each for each in self.schemes.values() if isinstance(each, TransportScheme)]

    def scheme(self, name: str) -> Scheme:
        """Return the scheme of that name.

        :raises ConfigError: if the app has none.
        """
        try:
            return self.schemes[name]
        except KeyError:
            raise ConfigError(
                f"a guard asks for {name} and this app cannot check any: "
                f"write {registration_of(name)}.init_app(app)"
            ) from None

    def first_request(self, _endpoint: str | None, _view_args: object) -> None:
        """Check all views, then get out of the way.

        Until the checks pass, every request fails: better than serving unguarded views.
        """
        with self._checking.passing():
            if not self._checked:
                for check in self.start_checks:
                    check(self)
                self._warn_of_processes()
                self._checked = True
        remove_hook(self.app, self.first_request)

    def _warn_of_processes(self) -> None:
        environ = get_request().environ
        if environ.get("wsgi.multiprocess") and isinstance(self.jam.store, MemoryStore):
            _log.warning(
                "there are several worker processes, and the memory store is for one: what the "
                "others know of sessions, refresh tokens and revocations is unknown here. Set "
                "redis_url, or run one process with threads"
            )

    def view_of(self, request: Request) -> Any:
        """Return the view function of a request, or None."""
        return self.app.view_functions.get(request.endpoint or "")

    def guards_for(self, request: Request) -> Iterable[Any]:
        """Return the guards in front of the view of a request, the outermost first."""
        rule = request.url_rule
        if rule is None:
            return ()
        method = request.method if request.method in _METHODS else "GET"
        return self.guards_in_front(self.app, rule, method)

    def schemes_for(self, request: Request) -> tuple[str, ...]:
        """Return the schemes to ask, those of the endpoint's guards first."""
        rule = request.url_rule
        if rule is None:  # the router answers, or Socket.IO
            return tuple(self.schemes)
        method = request.method if request.method in _METHODS else ""
        key = (rule.endpoint, method)
        found = self._orders.get(key)
        if found is None:
            guards = self.guards_for(request)
            own = [each.scheme for guard in guards for each in guard.rules]
            found = tuple(dict.fromkeys(name for name in (*own, *self.schemes)))
            self._orders[key] = found
        return found


def state_of(app: Flask) -> AppState:
    """Return the state of an app.

    :raises ConfigError: if no extension was initialised on it.
    """
    state: AppState | None = app.extensions.get(EXTENSION_KEY)
    if state is None:
        raise ConfigError(
            "this app has a guard and no extension that could authenticate anybody: "
            "write JWTExtension(jam).init_app(app), SessionExtension(jam).init_app(app), "
            "ApiKeyExtension(jam).init_app(app) or SchemeExtension(scheme).init_app(app)"
        )
    return state
