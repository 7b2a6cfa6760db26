"""What any message does to its receiver's label, and what of it is shown: laws over generated labels."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_proxy.arguments import canonical
from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.label import ALL, BOTTOM, Integrity, Label, Level
from trionyx_proxy.core.request import CallId, Request, Tool
from trionyx_proxy.messages.letter import Asked, Envelope, Message
from trionyx_proxy.messages.mailbox import DAY_MS, Allowance, Mailbox, Room
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.pep.reception import Reception
from trionyx_proxy.pep.replies import Told, secrecy
from trionyx_proxy.provenance import Handles, Index, Source
from trionyx_proxy.provenance.words import EMPTY
from trionyx_proxy.token import mint_ulid
from trionyx_testing.workspace import ANY_DATA

ADDRESS = "kim@partner.example"
NAMES = st.frozensets(st.sampled_from(["emma", "jonas", "pii", "fin"]))
LABELS = st.builds(
    Label, st.sampled_from(Integrity), st.sampled_from(Level), st.none() | NAMES, NAMES | st.just(ALL)
)
FEW = settings(max_examples=40, deadline=None)  # each makes a mailbox
PEERS = Peers.from_data(
    {
        "peers": {
            "boss": {"send_to": ["clerk"], "receive_from": ["clerk"], "clearance": ANY_DATA},
            "clerk": {"send_to": ["boss"], "receive_from": ["boss"], "clearance": ANY_DATA},
        }
    }
)
BOSS = Identity(run=mint_ulid(), agent="boss", user="emma", tenant="", registered=True, key=b"k" * 32)
RECEIVE = Request(
    call=CallId(mint_ulid()),
    tool=Tool("trionyx_receive", "trionyx", "trionyx", "trionyx_receive", "read", BOTTOM, "0" * 64),
    arguments=b"{}",
    facts=b'{"origins":[]}',
    clearance=BOTTOM,
    at_ms=0,
)
VOUCHED = {"0": ["email", "user"]}


def receive(
    label: Label,
    kind: str,
    content: object,
    *,
    own: Label = BOTTOM,
    category: int = 0,
    hides: bool = True,
    vouched: object = {},
    index: Index | None = None,
    peers: Peers = PEERS,
) -> tuple[Told, Index]:
    """Let one message arrive at a run, and give what it brings."""
    index = index or Index(EMPTY, b"k" * 32)
    with tempfile.TemporaryDirectory() as directory:
        mailbox = Mailbox.open(Path(directory))
        try:
            now = time.time_ns() // 1_000_000
            question = ""
            if category:
                question = mint_ulid()
                envelope = Envelope(
                    mint_ulid(),
                    "",
                    "emma",
                    "question",
                    "boss",
                    BOSS.run,
                    "clerk",
                    "",
                    question,
                    own,
                    now,
                    now + DAY_MS,
                )
                asked = Asked(
                    question,
                    "",
                    "emma",
                    "boss",
                    BOSS.run,
                    "clerk",
                    category,
                    1_000,
                    now,
                    now + DAY_MS,
                    own.integrity is Integrity.PUBLIC,
                    b"[]",
                )
                mailbox.ask(asked, Message(envelope, b"[]", b"{}"), Allowance(9, 9, 9), Room(9, 9))
            run = BOSS.run if category else ""
            envelope = Envelope(
                mint_ulid(),
                "",
                "emma",
                kind,
                "clerk",
                mint_ulid(),
                "boss",
                run,
                question,
                label,
                now,
                now + DAY_MS,
            )
            message = Message(envelope, canonical(content), canonical(vouched))  # type: ignore[arg-type]
            mailbox.put(message, Room(9, 9))
            reception = Reception(BOSS, mailbox, label=lambda: own, index=index, handles=Handles())

            async def take() -> Told:
                return await reception.receive(RECEIVE, peers, max_bytes=1 << 20, hides_text=hides)

            return anyio.run(take), index
        finally:
            mailbox.close()


@pytest.mark.guarantee("G34")
@FEW
@given(LABELS, LABELS, st.booleans(), st.sampled_from(["message", "question"]))
def test_a_receiver_takes_on_all_that_it_is_shown(label: Label, own: Label, hides: bool, kind: str) -> None:
    told, _ = receive(label, kind, "MARKED", own=own, hides=hides)
    after = own.join(told.reading.label)
    assert own.flows_to(after) and secrecy(label).flows_to(after)
    is_shown = "MARKED" in json.dumps(told.reading.result)
    assert is_shown is not (hides and label.integrity is Integrity.PUBLIC)
    assert not is_shown or label.flows_to(after)
    assert is_shown or [hidden.label for hidden in told.reading.hidden] == [label]
    assert told.messages[0]["label"] == label.to_json()


@pytest.mark.guarantee("G34")
@FEW
@given(LABELS, LABELS)
def test_a_typed_answer_keeps_its_secrecy_and_chooses_nothing(label: Label, own: Label) -> None:
    told, index = receive(label, "answer", {"n": 17}, own=own, category=1)
    after = own.join(told.reading.label)
    assert secrecy(label).flows_to(after) and after.integrity is own.integrity
    for role in Role:
        found = index.origin(17, ArgumentType.INTEGER, role).label.integrity
        may = own.integrity is not Integrity.PUBLIC and role not in (
            Role.TARGET,
            Role.SELECTOR,
            Role.SECRET,
            Role.PLAIN,
        )
        assert found is (Integrity.ORG if may else Integrity.PUBLIC), role


@pytest.mark.guarantee("G34")
@FEW
@given(LABELS)
def test_words_of_an_answer_are_a_message(label: Label) -> None:
    told, _ = receive(label, "answer", {"who": "MARKED"}, category=2)
    is_shown = "MARKED" in json.dumps(told.reading.result)
    assert is_shown is (label.integrity is not Integrity.PUBLIC)
    assert not is_shown or label.flows_to(told.reading.label)


@pytest.mark.guarantee("G34")
@FEW
@given(LABELS)
def test_nothing_is_vouched_for_beyond_the_trust_in_the_message(label: Label) -> None:
    told, _ = receive(label, "message", {"to": ADDRESS}, hides=False, vouched=VOUCHED)
    assert [leaf.label.integrity for leaf in told.reading.leaves] == [label.integrity]
    told, _ = receive(label, "message", {"to": ADDRESS}, hides=False)
    assert told.reading.leaves == ()


@pytest.mark.guarantee("G30")
def test_what_a_run_wrote_is_not_vouched_for_by_another() -> None:
    index = Index(EMPTY, b"k" * 32)
    index.wrote([ADDRESS])
    told, _ = receive(Label(Integrity.ORG), "message", {"to": ADDRESS}, vouched=VOUCHED, index=index)
    assert [leaf.label.integrity for leaf in told.reading.leaves] == [Integrity.PUBLIC]


@pytest.mark.guarantee("G34")
@FEW
@given(LABELS, LABELS, st.sampled_from([0, 1, 2]))
def test_nothing_arrives_for_which_the_receiver_is_not_cleared(
    label: Label, clearance: Label, category: int
) -> None:
    data = {"send_to": ["clerk"], "receive_from": ["clerk"], "clearance": clearance.to_json()}
    other = {"send_to": ["boss"], "receive_from": ["boss"], "clearance": ANY_DATA}
    peers = Peers.from_data({"peers": {"boss": data, "clerk": other}})
    told, _ = receive(label, "answer" if category else "message", {"n": 1}, category=category, peers=peers)
    wanted = secrecy(label) if category == 1 else label
    allowed = Label(Integrity.PUBLIC, clearance.level, clearance.readers, clearance.categories)
    assert bool(told.messages) is wanted.flows_to(allowed if category == 1 else clearance)


def test_the_source_of_a_number_is_the_call_that_received_it() -> None:
    _, index = receive(BOTTOM, "answer", {"n": 17}, category=1)
    (source,) = index.origin(17, ArgumentType.INTEGER, Role.AMOUNT).sources
    assert source == Source("result", RECEIVE.call, "trionyx_receive", "/messages/0/answer/n")


def waiting(mailbox: Mailbox, *contents: str, label: Label = BOTTOM) -> Reception:
    """Put messages for a run and give its incoming side."""
    now = time.time_ns() // 1_000_000
    for content in contents:
        envelope = Envelope(
            mint_ulid(), "", "emma", "message", "clerk", mint_ulid(), "boss", "", "", label, now, now + DAY_MS
        )
        mailbox.put(Message(envelope, canonical(content), b"{}"), Room(99, 99))
    index = Index(EMPTY, b"k" * 32)
    return Reception(BOSS, mailbox, label=lambda: BOTTOM, index=index, handles=Handles())


def take(reception: Reception, call: str, *, max_bytes: int = 1 << 20) -> list[str]:
    """Receive what fits, and return the words of the messages."""

    async def received() -> Told:
        request = replace(RECEIVE, call=CallId(call))
        return await reception.receive(request, PEERS, max_bytes=max_bytes, hides_text=True)

    told = anyio.run(received)
    assert len(canonical(told.reading.result)) <= max_bytes
    messages = told.reading.result["structuredContent"]["messages"]
    assert len(messages) == len(told.messages)
    return [message["message"] for message in messages]


@pytest.fixture
def mailbox(tmp_path: Path) -> Iterator[Mailbox]:
    opened = Mailbox.open(tmp_path)
    yield opened
    opened.close()


@pytest.mark.guarantee("G34")
def test_what_was_not_delivered_waits_again_for_the_next_call(mailbox: Mailbox) -> None:
    reception = waiting(mailbox, "one", "two")
    assert take(reception, "C1") == ["one", "two"]
    reception.ended("C1", is_delivered=False)
    assert take(reception, "C2") == ["one", "two"]
    reception.ended("C2", is_delivered=True)
    assert take(reception, "C3") == []


def test_calls_receive_one_after_the_other(mailbox: Mailbox) -> None:
    reception = waiting(mailbox, "one")

    async def both() -> list[int]:
        found: list[int] = []

        async def receive(call: str) -> None:
            request = replace(RECEIVE, call=CallId(call))
            told = await reception.receive(request, PEERS, max_bytes=1 << 20, hides_text=True)
            found.append(len(told.messages))

        async with anyio.create_task_group() as tasks:
            await receive("C1")
            tasks.start_soon(receive, "C2")
            await anyio.wait_all_tasks_blocked()
            # It waits for the first call, and not for the thread in which the mailbox is asked.
            assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            # The agent withdraws the first, and the second must not have missed what it took.
            reception.ended("C1", is_delivered=False)
        reception.ended("C2", is_delivered=True)
        return found

    assert anyio.run(both) == [1, 1]


@pytest.mark.parametrize("content", ['"' * 1_000, "\n" * 1_000, "x" * 1_000, "é" * 1_000])
def test_messages_come_as_many_as_fit_and_none_is_in_the_way_of_the_rest(
    mailbox: Mailbox, content: str
) -> None:
    reception = waiting(mailbox, content, "short", content, content, "short")
    found: list[str] = []
    for number in range(5):
        found += take(reception, f"C{number}", max_bytes=2_048)
        reception.ended(f"C{number}", is_delivered=True)
    assert len(found) == 5
    # What does not fit a whole result comes as a handle, trusted or not.
    assert {words if words == "short" else words[:6] for words in found} <= {"short", "⟦trx:h", content[:6]}
