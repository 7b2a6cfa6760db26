"""The mailbox: who gets a message, how much may be said and asked, and what a changed row is worth."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages.letter import Asked, Envelope, Message
from trionyx_proxy.messages.mailbox import DAY_MS, FILE_NAME, HOUR_MS, Allowance, Mailbox, Room
from trionyx_proxy.messages.structure import MessageError
from trionyx_proxy.token import mint_ulid

NOW = 1_800_000_000_000
SECRET = Label(Integrity.PUBLIC, Level.SECRET)
ROOMY = Room(100, 100)
PLENTY = Allowance(64, 256, 100)


def message(kind: str = "message", *, at: int = NOW, to_run: str = "", question: str = "") -> Message:
    envelope = Envelope(
        mint_ulid(at), "t", "emma", kind, "clerk", "R1", "boss", to_run, question, SECRET, at, at + DAY_MS
    )
    return Message(envelope, b'"Hello."', b"{}")


def question(
    millibits: int = 1_000, *, at: int = NOW, run: str = "R1", category: int = 1, to: str = "boss"
) -> Asked:
    return Asked(
        mint_ulid(at), "t", "emma", "clerk", run, to, category, millibits, at, at + DAY_MS, False, b'["?"]'
    )


def ask(mailbox: Mailbox, asked: Asked, allowance: Allowance = PLENTY, room: Room = ROOMY) -> None:
    mailbox.ask(asked, message("question", at=asked.asked_ms, question=asked.id), allowance, room)


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    opened = Mailbox.open(tmp_path)
    yield opened
    opened.close()


def waiting(mailbox: Mailbox, run: str = "R2", *, at: int = NOW + 1) -> list[str]:
    return [envelope.id for envelope, _ in mailbox.waiting("t", "boss", run, user="emma", now_ms=at)]


def test_what_is_put_is_received_as_it_was(mailbox: Mailbox) -> None:
    put = [message(at=NOW + number) for number in range(3)]
    for one in put:
        mailbox.put(one, ROOMY)
    assert waiting(mailbox) == [one.envelope.id for one in put]
    assert list(mailbox.take(waiting(mailbox), run="R2", call="C1")) == put
    assert waiting(mailbox) == []


@pytest.mark.guarantee("G34")
def test_a_message_is_handed_out_once_however_many_reach_for_it(tmp_path: Path, mailbox: Mailbox) -> None:
    for number in range(40):
        mailbox.put(message(at=NOW + number), ROOMY)
    ids = waiting(mailbox, at=NOW + 100)

    def reach(worker: int) -> list[str]:
        other = Mailbox.open(tmp_path)
        try:
            return [
                taken.envelope.id
                for id_ in ids
                for taken in other.take([id_], run=f"R{worker}", call=f"{worker} {id_}")
            ]
        finally:
            other.close()

    with ThreadPoolExecutor(4) as pool:
        taken = [id_ for got in pool.map(reach, range(4)) for id_ in got]
    assert sorted(taken) == sorted(ids)


def test_a_message_for_one_run_is_for_no_other(mailbox: Mailbox) -> None:
    mailbox.put(message(to_run="R2"), ROOMY)
    assert waiting(mailbox, "R3") == [] and len(waiting(mailbox, "R2")) == 1


def test_what_was_taken_and_not_received_waits_again(mailbox: Mailbox) -> None:
    for number in range(3):
        mailbox.put(message(at=NOW + number), ROOMY)
    first, second, third = waiting(mailbox, at=NOW + 9)
    mailbox.take([first], run="R2", call="C1")
    mailbox.take([second], run="R2", call="C2")
    mailbox.take([third], run="R3", call="C3")
    mailbox.give_back("R2", {"C1"})
    assert waiting(mailbox, at=NOW + 9) == [second]


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("label", BOTTOM.encode()),
        ("label", b"garbage"),
        ("from_agent", "chief"),
        ("user", "emma"),
        ("to_agent", "boss"),
        ("to_run", "R2"),
        ("tenant", "t"),
        ("kind", "answer"),
        ("expires_ms", NOW + 9 * DAY_MS),
        ("sealed", b"\0" * 40),
        ("sealed", b""),
    ],
)
def test_a_message_that_was_changed_on_disk_is_not_delivered(
    tmp_path: Path, mailbox: Mailbox, column: str, value: object
) -> None:
    sent = message()
    if column in ("to_agent", "to_run", "tenant", "user"):
        other = {"to_agent": "clerk", "to_run": "R9", "tenant": "other", "user": "jonas"}[column]
        sent = replace(sent, envelope=replace(sent.envelope, **{column: other}))
    mailbox.put(sent, ROOMY)
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute(f"UPDATE message SET {column} = ?", (value,))  # noqa: S608 - from the list above
    file.close()
    ((envelope, _),) = mailbox.waiting("t", "boss", "R2", user="emma", now_ms=NOW + 1)
    assert column != "label" or envelope.label in (BOTTOM, TOP)
    assert mailbox.take([envelope.id], run="R2", call="C1") == ()


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize(("column", "value"), [("is_tainted", 0), ("category", 1), ("asker_run", "R9")])
def test_a_question_that_was_changed_on_disk_was_not_asked(
    tmp_path: Path, mailbox: Mailbox, column: str, value: object
) -> None:
    asked = replace(question(category=2), is_tainted=True)
    ask(mailbox, asked)
    assert mailbox.asked(asked.id) == asked
    with sqlite3.connect(tmp_path / FILE_NAME) as file:
        file.execute(f"UPDATE question SET {column} = ?", (value,))  # noqa: S608 - from the list above
    file.close()
    assert mailbox.asked(asked.id) is None


def test_nothing_that_is_said_lies_on_disk_in_the_clear(tmp_path: Path, mailbox: Mailbox) -> None:
    mailbox.put(replace(message(), content=b'"MARKED WORDS"', vouched=b'{"0":["email","org"]}'), ROOMY)
    ask(mailbox, replace(question(), questions=b'["MARKED WORDS"]'))
    for path in tmp_path.iterdir():
        assert b"MARKED" not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("room", [Room(2, 100), Room(100, 2), Room(0, 100), Room(100, 0)])
def test_a_pair_has_only_so_much_room(mailbox: Mailbox, room: Room) -> None:
    for number in range(min(room.waiting, room.per_hour)):
        mailbox.put(message(at=NOW + number), room)
    with pytest.raises(MessageError):
        mailbox.put(message(at=NOW + 10), room)
    mailbox.put(replace(message(), envelope=replace(message().envelope, from_agent="other")), Room(1, 1))


def test_an_hour_later_there_is_room_again_also_after_messages_expired(mailbox: Mailbox) -> None:
    sent = message()
    mailbox.put(replace(sent, envelope=replace(sent.envelope, expires_ms=NOW + 1)), Room(9, 1))
    with pytest.raises(MessageError):
        mailbox.put(message(at=NOW + HOUR_MS - 1), Room(9, 1))
    mailbox.put(message(at=NOW + HOUR_MS), Room(9, 1))


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize(
    ("allowance", "asked", "refused"),
    [
        (Allowance(4, 100, 100), [question(2_000), question(2_000)], question(1)),
        (Allowance(4, 100, 100), [question(2_000)], question(2_001)),
        (Allowance(0, 0, 100), [], question(1)),
        (Allowance(9, 3, 100), [question(2_000), question(1_000, run="R7")], question(1, run="R8")),
        (Allowance(9, 9, 2), [question(0), question(0)], question(0, run="R7")),
        (Allowance(9, 9, 0), [], question(0)),
    ],
)
@pytest.mark.parametrize("later", [0, HOUR_MS - 1])
def test_only_so_many_bits_are_asked_for(
    mailbox: Mailbox, allowance: Allowance, asked: list[Asked], refused: Asked, later: int
) -> None:
    for one in asked:
        ask(mailbox, replace(one, id=mint_ulid()), allowance)
    refused = replace(refused, asked_ms=refused.asked_ms + later)
    with pytest.raises(MessageError):
        ask(mailbox, refused, allowance)
    assert mailbox.asked(refused.id) is None


def test_who_asks_others_or_later_has_bits_of_its_own(mailbox: Mailbox) -> None:
    allowance = Allowance(4, 3, 1)
    ask(mailbox, question(3_000), allowance)
    ask(mailbox, question(1_000, to="other"), allowance)
    for change in (question(3_000, at=NOW + DAY_MS, run="R7"), question(3_000, run="R6", to="third")):
        ask(mailbox, change, allowance)
    with pytest.raises(MessageError):  # a day gives the pair new bits, and not the run
        ask(mailbox, question(1, at=NOW + DAY_MS), allowance)


@pytest.mark.guarantee("G34")
def test_a_person_extends_the_bits_and_not_the_rate(mailbox: Mailbox) -> None:
    allowance = Allowance(1, 1, 2, is_extended=True)
    ask(mailbox, question(50_000), allowance)
    assert mailbox.is_beyond(question(1), allowance)
    ask(mailbox, question(50_000), allowance)
    with pytest.raises(MessageError):
        ask(mailbox, question(0), allowance)


@pytest.mark.guarantee("G34")
def test_a_budget_holds_for_all_who_ask_at_once(tmp_path: Path, mailbox: Mailbox) -> None:
    def attempt(number: int) -> bool:
        other = Mailbox.open(tmp_path)
        try:
            ask(other, question(1_000, at=NOW + number), Allowance(10, 100, 100))
            return True
        except MessageError:
            return False
        finally:
            other.close()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(attempt, range(30))) == 10


def test_a_question_is_kept_with_its_message_or_not_at_all(mailbox: Mailbox) -> None:
    asked = question()
    with pytest.raises(MessageError):
        ask(mailbox, asked, room=Room(0, 100))
    assert mailbox.asked(asked.id) is None and waiting(mailbox) == []


@pytest.mark.guarantee("G34")
def test_a_question_is_answered_once_and_in_time(mailbox: Mailbox) -> None:
    asked, late = question(), question()
    ask(mailbox, asked)
    ask(mailbox, late)
    with pytest.raises(MessageError):  # no room: the question can still be answered
        mailbox.answer(message("answer", question=asked.id), Room(0, 100))
    mailbox.answer(message("answer", question=asked.id), ROOMY)
    refused: list[Callable[[], Message]] = [
        lambda: message("answer", question=asked.id),
        lambda: message("answer", question=late.id, at=NOW + DAY_MS),
        lambda: message("answer", question=mint_ulid()),
    ]
    for make in refused:
        with pytest.raises(MessageError):
            mailbox.answer(make(), ROOMY)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database" * 500)
    with pytest.raises(StateError):
        Mailbox.open(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mailbox: Mailbox) -> None:
    (tmp_path / "messages.key").chmod(0o644)
    with pytest.raises(StateError):
        Mailbox.open(tmp_path)


def test_work_does_not_grow_with_what_others_say(tmp_path: Path, mailbox: Mailbox) -> None:
    def steps() -> list[int]:
        """Do everything once, and count the steps of each."""
        counted: list[int] = []
        # Called after every tenth instruction of the database.
        for database in (mailbox._database, mailbox._reading):
            database._connection.set_progress_handler(lambda: counted.append(1), 10)
        asked, sent = question(), message()
        todo: list[Callable[[], object]] = [
            lambda: mailbox.put(sent, ROOMY),
            lambda: ask(mailbox, asked),
            lambda: mailbox.is_beyond(asked, PLENTY),
            lambda: mailbox.answer(message("answer", question=asked.id), ROOMY),
            lambda: mailbox.take(waiting(mailbox), run="R2", call="C1"),
            lambda: mailbox.give_back("R2", set()),
        ]
        found: list[int] = []
        for do in todo:
            counted.clear()
            do()
            found.append(len(counted))
        for database in (mailbox._database, mailbox._reading):
            database._connection.set_progress_handler(None, 0)
        with mailbox._database.changing() as change:
            change("DELETE FROM message WHERE to_agent = 'boss'", ())
            change("DELETE FROM question WHERE asker_run = 'R1'", ())
        return found

    few = steps()
    put, asked = message(), question()
    with mailbox._database.changing() as change:
        for number in range(3_000):
            id_ = mint_ulid(NOW + number)
            other = replace(put.envelope, id=id_, from_agent=f"a{number % 50}", to_agent=f"b{number % 7}")
            row = (*other.columns(), b"sealed", "R9" if number % 2 else "", id_ if number % 2 else "")
            change(f"INSERT INTO message VALUES ({','.join('?' * 15)})", row)  # noqa: S608 - marks only
            another = replace(asked, id=id_, asker_agent=f"a{number % 50}", asker_run=f"R{number}")
            change(
                f"INSERT INTO question VALUES ({','.join('?' * 13)})",  # noqa: S608 - marks only
                (*another.columns(), b"sealed", 0),
            )
    many = steps()
    assert all(more <= 2 * fewer + 10 for fewer, more in zip(few, many, strict=True)), (few, many)
