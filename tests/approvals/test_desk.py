"""The serving side: nothing counts that is not on record, and an answer serves one of many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from trionyx_proxy.approvals.desk import Approvals, DeskSettings, Elicit
from trionyx_proxy.approvals.journal import Journal
from trionyx_proxy.approvals.rows import Endorsement, Scope
from trionyx_proxy.approvals.store import ApprovalStore
from trionyx_proxy.core.approval import Ask, Unapproved
from trionyx_proxy.core.event import ApprovalGiven, ApprovalRefused
from trionyx_proxy.core.request import CallId, Reason
from trionyx_testing.calls import AT_MS, IDENTITY, POLICY, SEND, TTL_MS, request

ORIGINS = {
    "origins": [
        {
            "arg": "/to",
            "handle": False,
            "integrity": "public",
            "role": "target",
            "sources": [],
            "type": "email",
        }
    ]
}
ARGUMENTS = b'{"to":"x@evil.example"}'
REASONS = (Reason("APP-001", "title"),)

Answer = ApprovalGiven | ApprovalRefused


def question(call: str, arguments: bytes = ARGUMENTS) -> Ask:
    asked = replace(request(call, SEND, arguments), facts=orjson.dumps(ORIGINS))
    bind = partial(IDENTITY.binding, asked, POLICY, ["APP-001"])
    return Ask(asked, REASONS, AT_MS + TTL_MS, bind(AT_MS + TTL_MS), bind(0))


class Run:
    """The desk of one run, a person at another connection, and a log that may lose records."""

    def __init__(
        self, directory: Path, *, wait_s: float = 20.0, loses: str = "", elicits: bool = False
    ) -> None:
        self.log: list[str] = []
        self.loses = loses
        self.changes: list[tuple[str, str]] = []
        self.clock_ms = AT_MS
        self.person = ApprovalStore.open(directory, lambda: self.clock_ms)
        self.store = ApprovalStore.open(directory, lambda: self.clock_ms)
        self.desk = self.open(wait_s, elicits)

    def open(self, wait_s: float, elicits: bool = False) -> Approvals:
        return Approvals(
            self.store,
            IDENTITY,
            Journal(IDENTITY, self.record),
            DeskSettings(wait_s, frozenset({"dana"}), elicits),
            on_endorsed=partial(self.note, "endorsed"),
            on_revoked=partial(self.note, "revoked"),
            clock=lambda: self.clock_ms,
        )

    async def record(self, type_: str, body: bytes, payloads: Mapping[str, bytes]) -> int | None:
        assert b"evil" not in body
        if type_ == self.loses:
            return None
        self.log.append(type_)
        return len(self.log)

    def note(self, what: str, endorsement: Endorsement) -> None:
        self.changes.append((what, self.log[-1]))

    async def asked(self, count: int = 1) -> list[str]:
        """Return the ids of the pending questions, once there are so many."""
        with anyio.fail_after(20):
            while (
                len(found := [entry.id for entry in self.person.all() if entry.standing == "pending"]) < count
            ):
                await anyio.sleep(0.01)
        return found


def play(story: Callable[[], Awaitable[None]]) -> None:
    anyio.run(story)


async def together(*works: Callable[[], Awaitable[Any]]) -> list[Any]:
    found: list[Any] = [None] * len(works)

    async def one(number: int) -> None:
        found[number] = await works[number]()

    async with anyio.create_task_group() as tasks:
        for number in range(len(works)):
            tasks.start_soon(one, number)
    return found


@pytest.mark.guarantee("G32")
def test_one_yes_serves_one_of_two_equal_calls_that_wait(tmp_path: Path) -> None:
    run = Run(tmp_path, wait_s=2.0)

    async def story() -> None:
        async def person() -> None:
            run.person.approve((await run.asked())[0], "dana")

        first, second, _ = await together(
            partial(run.desk.seek, question("a")), partial(run.desk.seek, question("b")), person
        )
        given = [answer for answer in (first, second) if isinstance(answer, ApprovalGiven)]
        (left,) = [answer for answer in (first, second) if isinstance(answer, ApprovalRefused)]
        assert len(given) == 1 and left.why is Unapproved.PENDING
        assert left.approval != given[0].approval.id, "the other is asked about on its own"
        assert given[0].approval.binding == question("a").binding

    play(story)
    assert run.log.count("approval.used") == 1


@pytest.mark.guarantee("G33")
@pytest.mark.guarantee("G32")
@pytest.mark.parametrize("lost", ["approval.asked", "approval.used", "endorsement.given"])
def test_what_is_not_on_record_does_not_count(tmp_path: Path, lost: str) -> None:
    run = Run(tmp_path, wait_s=1.0, loses=lost)

    async def story() -> None:
        async def person() -> None:
            if lost != "approval.asked":
                run.person.approve((await run.asked())[0], "dana", scope=Scope.RUN)

        answer, _ = await together(partial(run.desk.seek, question("a")), person)
        if lost == "endorsement.given":
            assert isinstance(answer, ApprovalGiven)
        else:
            assert isinstance(answer, ApprovalRefused)
        counting = run.desk.endorsements()
        assert bool(counting) is (lost == "approval.used")

    play(story)


@pytest.mark.guarantee("G33")
def test_a_right_begins_after_its_record_and_ends_before(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def story() -> None:
        async def person() -> None:
            run.person.approve((await run.asked())[0], "dana", scope=Scope.RUN)

        await together(partial(run.desk.seek, question("a")), person)
        look = partial(run.desk.vouches, "email", tool=SEND.id, call=CallId("z"))
        assert look("X@EVIL.example", "target") is not None
        for value, role in (("y@evil.example", "target"), ("x@evil.example", "selector"), (7, "target")):
            assert look(value, role) is None
        assert run.desk.vouches("id", "x@evil.example", "target", tool=SEND.id, call=CallId("z")) is None
        assert run.desk.vouches("email", "x@evil.example", "target", tool="other", call=CallId("z")) is None
        run.person.revoke(run.desk.endorsements()[0].id, "dana")
        await run.desk.poll()
        assert look("x@evil.example", "target") is None and run.desk.endorsements() == ()

    play(story)
    assert run.changes == [("endorsed", "endorsement.given"), ("revoked", "approval.used")]
    assert run.log[-1] == "endorsement.revoked"


@pytest.mark.guarantee("G33")
def test_what_is_vouched_for_once_counts_for_the_call_that_used_the_yes(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def story() -> None:
        async def person() -> None:
            run.person.approve((await run.asked())[0], "dana", scope=Scope.ONCE)

        answer, _ = await together(partial(run.desk.seek, question("a")), person)
        assert isinstance(answer, ApprovalGiven)
        look = partial(run.desk.vouches, "email", "x@evil.example", "target", tool=SEND.id)
        assert look(call=CallId("a")) is not None
        assert look(call=CallId("b")) is None
        run.desk.ended(CallId("a"))
        assert look(call=CallId("a")) is None

    play(story)


@pytest.mark.guarantee("G33")
def test_an_endorsement_by_somebody_who_may_not_counts_for_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, wait_s=1.0)

    async def story() -> None:
        async def person() -> None:
            run.person.approve((await run.asked())[0], "mallory", scope=Scope.ALWAYS)

        answer, _ = await together(partial(run.desk.seek, question("a")), person)
        assert isinstance(answer, ApprovalRefused)
        assert run.desk.endorsements() == ()

    play(story)


@pytest.mark.guarantee("G32")
def test_a_withdrawn_question_takes_no_approval_with_it(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run.desk.seek, question("a"))
            (id_,) = await run.asked()
            tasks.cancel_scope.cancel()
        run.person.approve(id_, "dana")
        answer = await run.desk.seek(question("b"))
        assert isinstance(answer, ApprovalGiven) and answer.approval.id == id_

    play(story)


def test_an_answer_that_comes_when_it_is_over_is_none(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def story() -> None:
        async def person() -> None:
            await run.asked()
            run.clock_ms += TTL_MS

        answer, _ = await together(partial(run.desk.seek, question("a")), person)
        assert isinstance(answer, ApprovalRefused) and answer.why is Unapproved.EXPIRED

    play(story)
    assert run.log == ["approval.asked", "approval.expired"]


@pytest.mark.guarantee("G33")
def test_a_new_process_records_what_it_counts_on_only_once(tmp_path: Path) -> None:
    run = Run(tmp_path)

    async def story() -> None:
        async def person() -> None:
            run.person.approve((await run.asked())[0], "dana", scope=Scope.ALWAYS)

        await together(partial(run.desk.seek, question("a")), person)
        (given,) = run.desk.endorsements()
        journal = Journal(IDENTITY, run.record)
        journal.remember(
            [
                ("endorsement.given", {"endorsement": given.id}),
                ("approval.used", {"approval": given.approval}),
            ]
        )
        later = Approvals(run.store, IDENTITY, journal, DeskSettings(0, frozenset({"dana"}), False))
        before = list(run.log)
        await later.refresh()
        assert later.endorsements() == (given,)
        assert run.log == before

    play(story)


async def says(answer: bool | None, text: str) -> bool | None:
    assert "x@evil.example" in text and text.startswith("An agent wants")
    return answer


async def fails_to_ask(text: str) -> bool | None:
    raise RuntimeError("the client went away")


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(
    ("elicit", "allowed", "expected"),
    [
        (partial(says, True), True, None),
        (partial(says, True), False, Unapproved.PENDING),
        (partial(says, False), True, Unapproved.REJECTED),
        (partial(says, None), True, Unapproved.PENDING),
        (fails_to_ask, True, Unapproved.PENDING),
    ],
)
def test_a_clients_dialog_counts_only_where_the_operator_vouches_for_it(
    tmp_path: Path, elicit: Elicit, allowed: bool, expected: Unapproved | None
) -> None:
    run = Run(tmp_path, wait_s=1.0, elicits=allowed)

    async def story() -> None:
        answer = await run.desk.seek(question("a"), elicit)
        if expected is None:
            assert isinstance(answer, ApprovalGiven) and answer.approval.by == "client of emma"
        else:
            assert isinstance(answer, ApprovalRefused) and answer.why is expected

    play(story)
