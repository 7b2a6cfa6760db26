"""What is said and not yet received, on disk: `messages.sqlite` in the state directory, shared by all runs.

A message is durable before its sender is told so. It is handed to one call of one run; a later process of that run
hands out again what no recorded outcome shows as received. Nothing here knows who may talk to whom.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from trionyx_proxy.approvals.database import Change, Database
from trionyx_proxy.approvals.sealing import Seal
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages.letter import (
    KEY_NAME,
    Asked,
    Envelope,
    Message,
    read_asked,
    read_envelope,
    read_message,
)
from trionyx_proxy.messages.structure import MessageError

FILE_NAME = "messages.sqlite"
RELEASE = 1
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
KEPT_MS = 366 * DAY_MS
"""How long a question counts; no run lives longer (`token.MAX_LIFETIME_S`)."""

_ENVELOPE = (
    "id, tenant, user, kind, from_agent, from_run, to_agent, to_run, question, label, sent_ms, expires_ms"
)
_ASKED = (
    "id, tenant, user, asker_agent, asker_run, answerer_agent, category, millibits, asked_ms, expires_ms, "
    "is_tainted"
)
_SCHEMA = (
    """
CREATE TABLE message (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,        -- on whose behalf it was sent
    kind TEXT NOT NULL,        -- message, question, answer
    from_agent TEXT NOT NULL,
    from_run TEXT NOT NULL,
    to_agent TEXT NOT NULL,
    to_run TEXT NOT NULL,      -- empty for any run of the agent
    question TEXT NOT NULL,    -- id of what is asked or answered; empty for a message
    label BLOB NOT NULL,       -- canonical JSON label
    sent_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    sealed BLOB NOT NULL,      -- content, bound to all of the above
    taken_run TEXT NOT NULL,
    taken_call TEXT NOT NULL,  -- empty while it waits
    -- Only so that nothing is looked for row by row: ids are unique anyway.
    UNIQUE (tenant, to_agent, taken_call, to_run, from_agent, expires_ms, id),
    UNIQUE (tenant, from_agent, to_agent, sent_ms, id),
    UNIQUE (taken_run, taken_call, id),
    UNIQUE (expires_ms, id)
) STRICT""".strip(),
    """
CREATE TABLE question (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    user TEXT NOT NULL,        -- on whose behalf it was asked
    asker_agent TEXT NOT NULL,
    asker_run TEXT NOT NULL,
    answerer_agent TEXT NOT NULL,
    category INTEGER NOT NULL,
    millibits INTEGER NOT NULL,
    asked_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    is_tainted INTEGER NOT NULL, -- whether the asking run had been shown untrusted text
    sealed BLOB NOT NULL,      -- questions, bound to all of the above
    is_answered INTEGER NOT NULL,
    UNIQUE (tenant, asker_agent, answerer_agent, asked_ms, category, millibits, id),
    UNIQUE (asker_run, millibits, id),
    UNIQUE (asked_ms, id)
) STRICT, WITHOUT ROWID""".strip(),
)
_INSERT = (
    f"INSERT INTO message ({_ENVELOPE}, sealed, taken_run, taken_call) "  # noqa: S608 - constant
    "SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,'','' WHERE "
    "(SELECT count(*) FROM message WHERE tenant = ?2 AND from_agent = ?5 AND to_agent = ?7 AND to_run = ?8 "
    "AND taken_call = '' AND expires_ms > ?11) < ?14 AND "
    "(SELECT count(*) FROM message WHERE tenant = ?2 AND from_agent = ?5 AND to_agent = ?7 "
    f"AND sent_ms > ?11 - {HOUR_MS}) < ?15"
)
_BITS_OF_RUN = "SELECT coalesce(sum(millibits), 0) FROM question WHERE asker_run = ?5"
_BITS_OF_PAIR = (
    "SELECT coalesce(sum(millibits), 0) FROM question WHERE tenant = ?2 AND asker_agent = ?4 "  # noqa: S608 - constant
    f"AND answerer_agent = ?6 AND asked_ms > ?9 - {DAY_MS}"
)
_FITS = f"({_BITS_OF_RUN}) + ?8 <= ?12 AND ({_BITS_OF_PAIR}) + ?8 <= ?13"
_ASK = (
    f"INSERT INTO question ({_ASKED}, sealed, is_answered) "  # noqa: S608 - constant
    f"SELECT ?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?16,0 WHERE (?14 OR {_FITS}) AND "
    "(SELECT count(*) FROM question WHERE tenant = ?2 AND asker_agent = ?4 AND answerer_agent = ?6 "
    f"AND category = ?7 AND asked_ms > ?9 - {HOUR_MS}) < ?15"
)
# Every parameter occurs, so that both statements take the same ones.
_IS_BEYOND = f"SELECT NOT ({_FITS}) AND ?1 || ?3 <> '' AND ?7 + ?10 + ?11 >= 0"

_RELEASE = "UPDATE message SET taken_run = '', taken_call = '' WHERE taken_run = ? AND taken_call = ?"


@dataclass(frozen=True, slots=True)
class Room:
    """How much one agent may say to another.

    Args:
        waiting: messages that are not yet received.
        per_hour: messages in an hour.
    """

    waiting: int
    per_hour: int


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much may be asked.

    Args:
        run_bits: that the asking run may ask for in all.
        pair_bits: that its agent may ask the other for in a day, over all runs.
        rate: questions of this category in an hour.
        is_extended: a person has approved that more bits are asked for.
    """

    run_bits: int
    pair_bits: int
    rate: int
    is_extended: bool = False


class Mailbox:
    """For several threads of several processes.

    Raises:
        StateError: from every method: the file cannot be used; nothing was changed then.
    """

    def __init__(self, database: Database, reading: Database, seal: Seal) -> None:
        self._database = database
        # A connection of its own: whoever only looks does not wait for those who wait for another process.
        self._reading = reading
        self._seal = seal

    @classmethod
    def open(cls, directory: Path) -> Mailbox:
        """Open or create the file; a damaged one is refused, since nothing else holds what waits in it."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with ExitStack() as opened:
                seal = Seal.of(directory, KEY_NAME)
                database = Database.open(directory / FILE_NAME, _SCHEMA, RELEASE)
                opened.enter_context(closing(database))
                reading = database.another(directory / FILE_NAME)
                opened.pop_all()
                return cls(database, reading, seal)
        except StateError as error:
            raise StateError(f"the mailbox {directory / FILE_NAME} cannot be used") from error

    def close(self) -> None:
        """Close the file."""
        self._reading.close()
        self._database.close()

    def put(self, message: Message, room: Room) -> None:
        """Keep a message until it is received or expires.

        Raises:
            MessageError: there is no room for it.
        """
        with self._database.changing() as change:
            _prune(change, message.envelope.sent_ms)
            self._insert(change, message, room)

    def ask(self, asked: Asked, message: Message, allowance: Allowance, room: Room) -> None:
        """Count a question and keep it, both or neither.

        Args:
            asked: what is asked.
            message: that brings it.
            allowance: of the asking run and its agent.
            room: for the message.

        Raises:
            MessageError: a budget is used up, or there is no room.
        """
        row = (
            *asked.columns(),
            *(allowance.run_bits * 1_000, allowance.pair_bits * 1_000, int(allowance.is_extended)),
            *(allowance.rate, asked.sealed(self._seal)),
        )
        with self._database.changing() as change:
            _prune(change, asked.asked_ms)
            if change(_ASK, row) != 1:
                raise MessageError("no more may be asked: a budget of bits or a rate is used up")
            self._insert(change, message, room)

    def is_beyond(self, asked: Asked, allowance: Allowance) -> bool:
        """Tell whether a question asks for more bits than are left."""
        bounds = allowance.run_bits * 1_000, allowance.pair_bits * 1_000
        ((is_beyond,),) = self._reading.read(_IS_BEYOND, (*asked.columns(), *bounds))
        return bool(is_beyond)

    def answer(self, message: Message, room: Room) -> None:
        """Keep an answer; a question takes one, and only in its time.

        Raises:
            MessageError: the question is answered, expired or gone.
        """
        now_ms = message.envelope.sent_ms
        with self._database.changing() as change:
            _prune(change, now_ms)
            taken = change(
                "UPDATE question SET is_answered = 1 WHERE id = ? AND is_answered = 0 AND expires_ms > ?",
                (message.envelope.question, now_ms),
            )
            if taken != 1:
                raise MessageError("there is no such question to answer")
            self._insert(change, message, room)

    def asked(self, question: str) -> Asked | None:
        """Return what was asked under an id; None also where that cannot be read."""
        found = self._reading.read(
            f"SELECT {_ASKED}, sealed FROM question WHERE id = ?",  # noqa: S608 - constant
            (question,),
        )
        return read_asked(found[0], self._seal) if found else None

    def waiting(
        self, tenant: str, agent: str, run: str, *, user: str | None, now_ms: int
    ) -> tuple[tuple[Envelope, int], ...]:
        """Return what waits for a run and how many bytes each has, oldest first; takes nothing.

        Args:
            tenant: of the run.
            agent: of the run.
            run: gets what is for it alone, and what is for any run of its agent.
            user: on whose behalf the latter must have been sent; None for any.
            now_ms: Unix milliseconds.
        """
        found = self._reading.read(
            f"SELECT {_ENVELOPE}, length(sealed) FROM message WHERE tenant = ? AND to_agent = ? "  # noqa: S608
            "AND (to_run = ? OR (to_run = '' AND user = coalesce(?, user))) AND taken_call = '' "
            "AND expires_ms > ? ORDER BY rowid",
            (tenant, agent, run, user, now_ms),
        )
        return tuple((read_envelope(row[:-1]), row[-1]) for row in found)

    def take(self, ids: Sequence[str], *, run: str, call: str) -> tuple[Message, ...]:
        """Hand messages to one call; return those that nobody else took and that can be read."""
        with self._database.changing() as change:
            for id_ in ids:
                change(
                    "UPDATE message SET taken_run = ?, taken_call = ? WHERE id = ? AND taken_call = ''",
                    (run, call, id_),
                )
        taken = self._database.read(
            f"SELECT {_ENVELOPE}, sealed FROM message WHERE taken_run = ? AND taken_call = ? ORDER BY rowid",  # noqa: S608 - constant
            (run, call),
        )
        read = (read_message(row, self._seal) for row in taken)
        return tuple(message for message in read if message is not None)

    def release(self, ids: Collection[str], *, run: str, call: str) -> None:
        """Let wait again what one call took."""
        with self._database.changing() as change:
            for id_ in ids:
                change(
                    "UPDATE message SET taken_run = '', taken_call = '' "
                    "WHERE id = ? AND taken_run = ? AND taken_call = ?",
                    (id_, run, call),
                )

    def release_call(self, run: str, call: str) -> None:
        """Let wait again all that one call took."""
        with self._database.changing() as change:
            change(_RELEASE, (run, call))

    def give_back(self, run: str, received: Collection[str]) -> None:
        """Let wait again what a run took in calls that did not receive it.

        Args:
            run: that is resumed, so that no call of it is under way.
            received: calls whose outcome is on record.
        """
        taken = self._database.read("SELECT DISTINCT taken_call FROM message WHERE taken_run = ?", (run,))
        with self._database.changing() as change:
            for (call,) in taken:
                if call not in received:
                    change(_RELEASE, (run, call))

    def _insert(self, change: Change, message: Message, room: Room) -> None:
        row = (*message.envelope.columns(), message.sealed(self._seal), room.waiting, room.per_hour)
        if change(_INSERT, row) != 1:
            raise MessageError("too many messages wait for that agent, or were sent to it within this hour")


def _prune(change: Change, now_ms: int) -> None:
    """Drop what is over and counts for no rate any more."""
    change("DELETE FROM message WHERE expires_ms <= ? AND sent_ms <= ?", (now_ms, now_ms - HOUR_MS))
    change("DELETE FROM question WHERE asked_ms <= ?", (now_ms - KEPT_MS,))
