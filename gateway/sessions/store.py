"""Sessions in the store: each method is one atomic operation that a guarantee needs."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.policy.policy import SessionRules
from gateway.valkey.client import Store
from gateway.vocabulary.identity import Stage, Standing

SESSION_ID_BYTES = 16
PARKED_MS = 300_000
_JAR_PREFIX = "j:"


@dataclass(frozen=True, slots=True)
class Session:
    """One session as it stands in the store. Times are Unix milliseconds.

    *invitation* is the id of the invitation proven in it, "" for none. *alive*: the account has not been
    locked or reset since it was opened; idle and absolute lifetimes are checked where requests enter.
    """

    id: str
    app: str
    stage: Stage
    created_ms: int
    seen_ms: int
    address: str
    agent: str
    invitation: str
    jar: frozenset[str]
    alive: bool


@dataclass(frozen=True, slots=True)
class Link:
    """The *device* of a login, by its pseudonym. Accounts that logged in with one device within *linked_ms* form a
    cluster, of at most *accounts_most*."""

    device: str
    accounts_most: int
    linked_ms: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A session began, or went on under a new id. *closed*: older ones that had to make room."""

    session_id: str
    closed: tuple[str, ...] = ()


class SessionRefused(Exception):
    """No session: the account is locked or retired, or the session to promote is gone (standing None)."""

    def __init__(self, standing: Standing | None) -> None:
        super().__init__(f"session refused: {standing.value if standing is not None else 'no such session'}")
        self.standing = standing


@dataclass(frozen=True, slots=True)
class DoorState:
    """What other login attempts did with a stranger's cookies meanwhile.

    *sealed*: one of these cookies let somebody in; *in_flight*: how many attempts are under way, at most.
    """

    sealed: bool
    in_flight: int


class SessionStore:
    """Sessions by account and id. Every method raises StoreUnavailable or StoreEmptied when it must.

    What ends a session, and what is noted of a stranger's cookies, is confirmed by replicas, where there are
    any. What opens one is not: a failover that loses it asks for the code again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    async def open(
        self,
        account_id: str,
        app: str,
        stage: Stage,
        rules: SessionRules,
        *,
        jar: Sequence[str] = (),
        address: str = "",
        agent: str = "",
        invitation: str = "",
        link: Link | None = None,
    ) -> Opened:
        """Begin a session with a new 128-bit id; *jar* are the app's credentials known to be its own.

        *link* ties a FULL one to the device it is opened with.

        Raises:
            SessionRefused: the account is locked or retired.
        """
        session_id = new_session_id()
        lifetime_ms = _lifetime_ms(stage, rules)
        labels = (app, stage.value, address, agent, invitation)
        reply = await self._call(
            "session_open", account_id, session_id, *labels, lifetime_ms, rules.at_most, *_link(link), *jar
        )
        return _opened(session_id, reply)

    async def promote(
        self,
        account_id: str,
        session_id: str,
        stage: Stage,
        rules: SessionRules,
        *,
        add_jar: Sequence[str] = (),
        link: Link | None = None,
    ) -> Opened:
        """Move a session to *stage* under a new id; the old id is dead, the jar and the labels move along.

        *link* ties a FULL one to the device it is opened with.

        At most ``rules.at_most`` full sessions of this account and app stay, the oldest are closed. A
        parked answer stays under the old id: unpark it with that one.

        Raises:
            SessionRefused: the session is gone, or the account is locked or retired.
        """
        fresh = new_session_id()
        lifetime_ms = _lifetime_ms(stage, rules)
        args = [session_id, fresh, stage.value, rules.at_most, lifetime_ms, *_link(link), *add_jar]
        return _opened(fresh, await self._call("session_promote", account_id, *args))

    async def step_up(self, account_id: str, session_id: str, fresh_id: str) -> Opened:
        """Note that a full session has just given a fresh code; it goes on as *fresh_id*, and ends when it would have.

        What the account owed is paid for this session alone.

        Raises:
            SessionRefused: the session is gone or not full, or the account is locked or retired.
        """
        return _opened(fresh_id, await self._call("session_step_up", account_id, session_id, fresh_id))

    async def note_invitation(
        self, account_id: str, session_id: str, invitation: str, rules: SessionRules
    ) -> bool:
        """Note that this session proved *invitation* (its id); its waiting time starts again."""
        lifetime_ms = _lifetime_ms(Stage.PENDING, rules)
        reply = await self._call("session_note_invitation", account_id, session_id, invitation, lifetime_ms)
        return bool(reply == 1)

    async def get(self, account_id: str, session_id: str) -> Session | None:
        """Return the session, None when there is none. Does not count as activity."""
        reply = await self._call("session_get", account_id, session_id)
        return None if reply is None else _session(reply)

    async def list(self, account_id: str) -> tuple[Session, ...]:
        """Return the sessions of an account, the oldest first."""
        return tuple(_session(row) for row in await self._call("session_list", account_id))

    async def close(self, account_id: str, session_id: str) -> bool:
        """End a session; False when there was none."""
        return bool(await self._call("session_close", account_id, session_id, confirmed=True) == 1)

    async def close_all(self, account_id: str, *, app: str = "", keep: str = "") -> tuple[str, ...]:
        """End every session of an account, of one *app* if named, but for *keep*; return their ids."""
        members = await self._call("session_close_all", account_id, app, keep, confirmed=True)
        return tuple(member.decode().rpartition("/")[2] for member in members)

    async def park(self, account_id: str, session_id: str, sealed: str) -> bool:
        """Keep the app's sealed answer for 5 minutes; False when the session is gone."""
        return bool(await self._call("session_park", account_id, session_id, sealed, PARKED_MS) == 1)

    async def unpark(self, account_id: str, session_id: str) -> str | None:
        """Return the parked answer and forget it: whoever comes second gets None."""
        reply = await self._call("session_unpark", account_id, session_id)
        return None if reply is None else reply.decode()

    async def door_begin(self, hashes: Sequence[str], who: str = "") -> bool:
        """Count a login attempt that is about to go upstream with these cookies.

        *hashes* are credential hashes, which name the app; *who* is the id of the account typed, "" when
        none was. False: one of the cookies let somebody else in, or is being tried for somebody else at
        this moment, so that one session of the app could end up in two names; nothing is counted, and
        the request must not go upstream with them.
        """
        sealed = await asyncio.gather(*(self._door("door_begin", hash_, who) for hash_ in hashes))
        if 1 not in sealed:
            return True
        counted = [hash_ for hash_, answer in zip(hashes, sealed, strict=True) if answer == 0]
        await asyncio.gather(*(self._door("door_end", hash_, 0, 1) for hash_ in counted))
        return False

    async def door_end(self, hashes: Sequence[str], *, success: bool, also_seal: Sequence[str] = ()) -> None:
        """Say how a begun attempt ended; after a success the cookies open no stranger's page any more.

        *also_seal*: cookies that this answer has set, which nobody began with.
        """
        seal = 1 if success else 0
        new = [hash_ for hash_ in also_seal if success and hash_ not in hashes]
        await asyncio.gather(
            *(self._door("door_end", hash_, seal, 1) for hash_ in hashes),
            *(self._door("door_end", hash_, 1, 0) for hash_ in new),
        )

    async def door_state(self, hashes: Sequence[str]) -> DoorState:
        """Return what became of these cookies: an answer is withheld when one was sealed or is being tried."""
        states = await asyncio.gather(*(self._door("door_state", hash_) for hash_ in hashes))
        return DoorState(
            sealed=any(sealed == 1 for sealed, _ in states),
            in_flight=max((attempts for _, attempts in states), default=0),
        )

    async def _call(self, function: str, account_id: str, *args: str | int, confirmed: bool = False) -> Any:
        key = f"ecluse:{{{account_id}}}:account"
        return await self._store.call(f"ecluse_{function}", [key], args, confirmed=confirmed)

    async def _door(self, function: str, hash_: str, *args: str | int) -> Any:
        key = f"ecluse:door:{{{hash_}}}"
        return await self._store.call(f"ecluse_{function}", [key], args, confirmed=function != "door_state")


def new_session_id() -> str:
    """Return a new session id: 128 random bits as 32 hex digits."""
    return secrets.token_hex(SESSION_ID_BYTES)


def _lifetime_ms(stage: Stage, rules: SessionRules) -> int:
    return (rules.absolute_s if stage is Stage.FULL else rules.pending_s) * 1000


def _link(link: Link | None) -> tuple[str, int, int]:
    return ("", 0, 0) if link is None else (link.device, link.accounts_most, link.linked_ms)


def _opened(session_id: str, reply: Sequence[bytes]) -> Opened:
    outcome, *rest = (part.decode() for part in reply)
    if outcome == "ok":
        return Opened(session_id, tuple(rest))
    raise SessionRefused(Standing(rest[0]) if rest[0] in frozenset(Standing) else None)


def _session(row: tuple[bytes, bytes, list[bytes]]) -> Session:
    session_id, epoch, flat = row
    fields = {flat[at].decode(): flat[at + 1].decode() for at in range(0, len(flat), 2)}
    return Session(
        id=session_id.decode(),
        app=fields["app"],
        stage=Stage(fields["stage"]),
        created_ms=int(fields["created_ms"]),
        seen_ms=int(fields["seen_ms"]),
        address=fields["address"],
        agent=fields["agent"],
        invitation=fields["invitation"],
        jar=frozenset(name.removeprefix(_JAR_PREFIX) for name in fields if name.startswith(_JAR_PREFIX)),
        alive=fields["epoch"] == epoch.decode(),
    )
