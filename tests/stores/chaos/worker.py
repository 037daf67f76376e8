"""One thread that uses a Jam as clients would, and writes down what came of it."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from flask_jam import Jam
from flask_jam._credentials.api_key_text import id_of

from .board import Board, Thing
from .history import OK, REFUSED, UNAVAILABLE, Call, Log, now, timed
from .lives import API_KEY, LOGIN, SESSION, TICKET

#: Between two attempts of a client that got no answer.
RETRY = 0.03
#: A client uses a new refresh token no sooner than this.
REST = 0.4
#: After the last fault, each client insists on an answer for so long.
AT_LAST = 15.0
#: Owners change, and are many: what a process changes for an owner, it reads anew for it.
EPOCH, OWNERS = 3.0, 30
_LIFE: Mapping[str, Any] = {"expires_in": 3600, "replace": False}


class Worker:
    """One thread: a client of its own sessions and logins, who meddles with those of others."""

    def __init__(self, name: str, jam: Jam, log: Log, board: Board, seed: str) -> None:
        self.name = name
        self._jam = jam
        self._log = log
        self._board = board
        self._chance = random.Random(seed)
        self._process = int(name.partition(".")[0])
        self._near = jam.settings.near_cache
        self._sessions: list[Thing] = []
        self._logins: list[Thing] = []
        self._tickets: list[Thing] = []
        self._keys: list[Thing] = []
        self._rested: dict[str, float] = {}
        #: In each session: how often it took another key of its own, and the last value.
        self._counts: dict[str, tuple[int, int]] = {}
        #: What it looks at again and again, so that it is near.
        self._watched: deque[tuple[Callable[..., Call], Thing, str]] = deque(maxlen=12)
        self._made = 0
        self._until = 0.0

    def run(self, begin: float, until: float) -> None:
        """Do one thing after the other, then see that its own are all well."""
        self._until = until
        time.sleep(max(0.0, begin - now()))
        weights = list(ACTIONS.values())
        while now() < until:
            (action,) = self._chance.choices(list(ACTIONS), weights)
            action(self)
            time.sleep(self._chance.uniform(0.001, 0.012))
        self._finish()

    # --- asking ---

    def _call(
        self, act: Callable[[], Mapping[str, Any] | None], op: str, thing: Thing | None, **more: Any
    ) -> Call:
        about = {"thing": thing.name, "owner": thing.owner} if thing is not None else {}
        call = timed(act, op, **about, process=self._process, near=self._near, **more)
        self._log.write(call)
        return call

    def _insist(self, ask: Callable[..., Call]) -> Call:
        """Ask again until there is an answer, as an honest client does."""
        give_up = self._until + AT_LAST
        while True:
            is_last = now() > give_up
            call = ask(**({"final": True} if is_last else {}))
            if call.outcome != UNAVAILABLE or is_last:
                return call
            time.sleep(self._chance.uniform(RETRY / 2, RETRY))

    def _owner(self) -> str:
        return f"user-{int(now() / EPOCH)}-{self._chance.randrange(OWNERS)}"

    def _name(self) -> str:
        self._made += 1
        return f"{self.name}-{self._made}"

    def _other(self, kind: str) -> Thing | None:
        """Choose from the newest things of all workers; the newer, the more often."""
        known = [thing for thing in self._board.newest(kind) if thing.ids]
        return known[-1 - int(len(known) * self._chance.random() ** 2)] if known else None

    def _one_of(self, credentials: list[str]) -> str:
        """Choose the newest mostly, else any of them."""
        return credentials[-1] if self._chance.random() < 0.7 else self._chance.choice(credentials)

    def look_again(self) -> None:
        if self._watched:
            look, thing, credential = self._chance.choice(self._watched)
            look(thing, credential)

    def _look(self, look: Callable[..., Call], thing: Thing, credential: str) -> None:
        call = look(thing, credential)
        if call.outcome == OK and self._chance.random() < 0.1:
            self._watched.append((look, thing, credential))

    # --- sessions ---

    def create(self) -> None:
        if len(self._sessions) >= 3:
            return
        thing = Thing(self._name(), self._owner())
        data = {"thing": thing.name, "owner": thing.owner}
        call = self._call(
            lambda: {"id": self._jam.create_session(thing.owner, data)}, "create", thing
        )
        if call.outcome == OK:
            thing.learn(call.result)
            self._sessions.append(thing)

    def read(self) -> None:
        if (thing := self._other(SESSION)) is not None:
            self._look(self._read, thing, self._one_of(thing.ids))

    def read_own(self) -> None:
        for thing in list(self._sessions):
            if self._read(thing, thing.ids[-1]).outcome == REFUSED:
                self._sessions.remove(thing)

    def _read(self, thing: Thing, session_id: str, **args: Any) -> Call:
        return self._call(
            lambda: _shown(self._jam.get_session(session_id)), "read", thing,
            credential=session_id, args=args,
        )  # fmt: skip

    def update(self) -> None:
        if (thing := self._other(SESSION)) is None:
            return
        session_id = self._one_of(thing.ids)
        number, value = self._counts.get(thing.name, (0, 0))
        key = f"{self.name}#{number}"

        def act() -> Mapping[str, Any]:
            self._jam.update_session(session_id, {key: value + 1})
            return {}

        args = {"key": key, "value": value + 1}
        call = self._call(act, "update", thing, credential=session_id, args=args)
        if call.outcome == OK:
            self._counts[thing.name] = number, value + 1
        elif call.outcome == UNAVAILABLE:
            # It may be carried out later than the next one: that must not hide a loss.
            self._counts[thing.name] = number + 1, 0

    def rework(self) -> None:
        if self._sessions:
            thing = self._chance.choice(self._sessions)
            call = self._insist(lambda **args: self._rework(thing, thing.ids[-1], args))
            if call.outcome == OK:
                thing.learn(call.result)
            else:
                self._sessions.remove(thing)

    def rework_old(self) -> None:
        """Present an id that has had its successor."""
        thing = self._other(SESSION)
        if thing is not None and len(thing.ids) > 1:
            self._rework(thing, self._chance.choice(thing.ids[:-1]), {})

    def _rework(self, thing: Thing, session_id: str, args: Mapping[str, Any]) -> Call:
        return self._call(
            lambda: {"id": self._jam.rework_session(session_id)}, "rework", thing,
            credential=session_id, args=args,
        )  # fmt: skip

    def delete(self) -> None:
        if (thing := self._other(SESSION)) is not None:
            session_id = self._one_of(thing.ids)
            self._call(
                lambda: {"count": self._jam.delete_session(session_id)}, "delete", thing,
                credential=session_id,
            )  # fmt: skip

    def clear(self) -> None:
        if (thing := self._other(SESSION)) is not None:
            owner = thing.owner
            self._insist(lambda **_: self._call(
                lambda: {"count": self._jam.clear_sessions(owner)}, "clear", None, owner=owner,
            ))  # fmt: skip

    # --- logins ---

    def issue(self) -> None:
        honest = self._chance.random() < 0.6
        if honest and len(self._logins) >= 3:
            return
        thing = Thing(self._name(), self._owner(), honest=honest)
        call = self._call(
            lambda: _pair(self._jam.issue_tokens(thing.owner, thing=thing.name)), "issue", thing,
            args={"honest": honest},
        )  # fmt: skip
        if call.outcome == OK and honest:
            thing.learn(call.result)
            self._rested[thing.name] = now() + REST
            self._logins.append(thing)

    def verify(self) -> None:
        if (thing := self._other(LOGIN)) is not None:
            self._look(self._verify, thing, self._one_of(thing.access))

    def _verify(self, thing: Thing, token: str, **args: Any) -> Call:
        return self._call(
            lambda: _said(self._jam.verify_jwt_token(token)), "verify", thing,
            credential=token, args=args,
        )  # fmt: skip

    def refresh_own(self) -> None:
        rested = [thing for thing in self._logins if self._rested[thing.name] < now()]
        if not rested:
            return
        thing = self._chance.choice(rested)
        call = self._insist(lambda **args: self._refresh(thing, thing.ids[-1], args))
        if call.outcome == OK:
            thing.learn(call.result)
            self._rested[thing.name] = now() + REST
        else:
            self._logins.remove(thing)

    def refresh(self) -> None:
        """Present any refresh token of a login whose client is not honest."""
        thing = self._other(LOGIN)
        if thing is not None and not thing.honest:
            self._refresh(thing, self._one_of(thing.ids), {})

    def _refresh(self, thing: Thing, token: str, args: Mapping[str, Any]) -> Call:
        return self._call(
            lambda: _pair(self._jam.refresh_tokens(token)), "refresh", thing,
            credential=token, args=args,
        )  # fmt: skip

    def logout(self) -> None:
        if (thing := self._other(LOGIN)) is not None:
            token = self._chance.choice([thing.ids[-1], thing.access[-1]])
            self._call(
                lambda: {"subject": self._jam.end_login(token)}, "logout", thing, credential=token
            )

    def revoke_token(self) -> None:
        if (thing := self._other(LOGIN)) is not None:
            token = self._one_of(thing.access)
            self._call(
                lambda: {"alive": self._jam.revoke_token(token)}, "revoke_token", thing,
                credential=token,
            )  # fmt: skip

    def revoke(self) -> None:
        kind = self._chance.choice([SESSION, LOGIN, API_KEY, TICKET])
        if (thing := self._other(kind)) is None:
            return
        owner = thing.owner

        def act() -> Mapping[str, Any]:
            self._jam.revoke_subject(owner)
            return {}

        self._insist(lambda **_: self._call(act, "revoke", None, owner=owner))

    # --- tickets ---

    def give(self) -> None:
        thing = Thing(self._name(), self._owner())

        def act() -> Mapping[str, Any]:
            data = {"thing": thing.name}
            return {"id": self._jam.issue_ticket("link", thing.owner, data=data, **_LIFE)}

        call = self._call(act, "give", thing)
        if call.outcome == OK:
            thing.learn(call.result)
            self._tickets = [*self._tickets[-9:], thing]

    def redeem(self) -> None:
        """Redeem one of the newest tickets, as others do at the same time."""
        if known := [thing for thing in self._board.newest(TICKET) if thing.ids]:
            self._redeem(self._chance.choice(known[-3:]))

    def _redeem(self, thing: Thing, **args: Any) -> Call:
        def act() -> Mapping[str, Any]:
            found = self._jam.redeem_ticket("link", thing.ids[0])
            return {"thing": found.data["thing"], "owner": found.subject}

        return self._call(act, "redeem", thing, credential=thing.ids[0], args=args)

    # --- API keys ---

    def create_key(self) -> None:
        if len(self._keys) >= 3:
            return
        thing = Thing(self._name(), self._owner())

        def act() -> Mapping[str, Any]:
            key, _ = self._jam.create_api_key(thing.owner, name=thing.name)
            return {"id": key}

        call = self._call(act, "create_key", thing)
        if call.outcome == OK:
            thing.learn(call.result)
            self._keys.append(thing)

    def use_key(self) -> None:
        if (thing := self._other(API_KEY)) is not None:
            self._look(self._use_key, thing, self._one_of(thing.ids))

    def _use_key(self, thing: Thing, key: str, **args: Any) -> Call:
        def act() -> Mapping[str, Any]:
            found = self._jam.api_keys.lookup(key)
            return {"thing": found.name, "owner": found.owner}

        return self._call(act, "use_key", thing, credential=key, args=args)

    def rotate_key(self) -> None:
        """Rotate any key, also one that another worker rotates just now."""
        if (thing := self._other(API_KEY)) is not None:
            key = self._one_of(thing.ids)
            self._call(
                lambda: {"id": self._jam.rotate_api_key(thing.owner, id_of(key)[2:])[0]},
                "rotate_key", thing, credential=key,
            )  # fmt: skip

    def revoke_key(self) -> None:
        if (thing := self._other(API_KEY)) is not None:
            key = self._one_of(thing.ids)
            self._call(
                lambda: {"alive": self._jam.revoke_api_key(thing.owner, id_of(key)[2:])},
                "revoke_key", thing, credential=key,
            )  # fmt: skip

    # --- the end ---

    def _finish(self) -> None:
        """Look at each thing of its own once more, with an answer."""
        for thing in self._sessions:
            self._insist(lambda thing=thing, **args: self._read(thing, thing.ids[-1], **args))
        for thing in self._tickets:
            self._insist(lambda thing=thing, **args: self._redeem(thing, **args))
        for thing in self._keys:
            self._insist(lambda thing=thing, **args: self._use_key(thing, thing.ids[-1], **args))
        for thing in self._logins:
            self._insist(lambda thing=thing, **args: self._verify(thing, thing.access[-1], **args))
            self._insist(lambda thing=thing, **args: self._refresh(thing, thing.ids[-1], args))


#: What a worker does, and how often.
ACTIONS: dict[Callable[[Worker], None], float] = {
    Worker.look_again: 25, Worker.create: 6, Worker.read: 18, Worker.read_own: 4,
    Worker.update: 14, Worker.rework: 5, Worker.rework_old: 2, Worker.delete: 0.6,
    Worker.clear: 0.3, Worker.issue: 5, Worker.verify: 18, Worker.refresh_own: 12,
    Worker.refresh: 8, Worker.logout: 0.5, Worker.revoke_token: 0.8, Worker.revoke: 0.3,
    Worker.give: 4, Worker.redeem: 10,
    Worker.create_key: 5, Worker.use_key: 16, Worker.rotate_key: 2, Worker.revoke_key: 0.8,
}  # fmt: skip
VERBS = (
    "create", "read", "update", "rework", "delete", "clear", "issue", "verify", "refresh", "logout",
    "revoke_token", "revoke", "give", "redeem", "create_key", "use_key", "rotate_key", "revoke_key",
)  # fmt: skip


def _shown(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is None:
        return None
    counts = {key: value for key, value in data.items() if "#" in key}
    return {"thing": data.get("thing"), "owner": data.get("owner"), "counts": counts}


def _said(claims: dict[str, Any]) -> dict[str, Any]:
    return {"thing": claims.get("thing"), "owner": claims.get("sub")}


def _pair(answer: dict[str, Any]) -> dict[str, Any]:
    return {"access": answer["access_token"], "refresh": answer["refresh_token"]}
