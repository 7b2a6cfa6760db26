"""The run under any interleaving of any number of calls: C1–C8 by the witness, replay, and what resume gives back."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trionyx_proxy.core.approval import Unapproved
from trionyx_proxy.core.effect import (
    AskPolicy,
    Effect,
    ForwardCall,
    SeekApproval,
    StoreRecord,
    TransformArguments,
)
from trionyx_proxy.core.event import (
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    Event,
    PolicyReloaded,
    RecordFailed,
    RecordStored,
    ResultArrived,
    ResultFailed,
    TransformFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.core.label import BOTTOM, Label
from trionyx_proxy.core.request import RejectionCode, Result
from trionyx_proxy.core.run import Run
from trionyx_testing.calls import (
    ALLOW,
    ALLOW_HIDING,
    ASK,
    CANCELLED,
    CRASHED,
    DENY,
    FILE,
    HIDDEN_ERROR,
    IDENTITY,
    LABELLED,
    OK,
    PROMPT,
    READ,
    SECRET,
    SEND,
    TOOL_ERROR,
    TRANSFORM,
    TTL_MS,
    UNSENT,
    Witness,
    approves,
    changed,
    new_run,
    read_body,
    refuses,
    rejection,
    request,
)

Due = TypeVar("Due", AskPolicy, TransformArguments, StoreRecord, SeekApproval, ForwardCall)
ANSWERS = [OK, LABELLED, TOOL_ERROR, HIDDEN_ERROR, CRASHED, UNSENT, CANCELLED]
FLOORS = st.sampled_from([BOTTOM, Label(readers=frozenset({"emma", "jonas"})), SECRET])
DECISIONS = st.sampled_from(
    [ALLOW, ALLOW, ALLOW_HIDING, DENY, ASK, TRANSFORM, replace(ALLOW, labels=(SECRET.encode(),))]
)


class RunMachine(RuleBasedStateMachine):
    """The world around one run: it answers what was asked, in any order, and sometimes dies and starts again."""

    @initialize(floor=FLOORS, asks=st.booleans())
    def begin(self, floor: Label, asks: bool) -> None:
        self.floor = floor
        self.count = 0
        self.log: list[StoreRecord] = []
        self.start(new_run(floor, approval_ttl_ms=TTL_MS if asks else 0))

    def start(self, run: Run) -> None:
        self.first = self.run = run
        self.witness = Witness(floor=run.label)
        self.events: list[Event] = []
        self.effects: list[tuple[Effect, ...]] = []
        self.emitted: list[StoreRecord] = []
        self.stored: list[StoreRecord] = []

    def feed(self, event: Event) -> None:
        for due in self.due(StoreRecord):
            if isinstance(event, RecordStored) and event.call == due.call:
                self.stored.append(due)
        before = self.run
        self.run, effects = before.receive(event)
        self.witness = self.witness.saw(before, event, self.run, effects)
        self.events.append(event)
        self.effects.append(effects)
        self.emitted += [effect for effect in effects if isinstance(effect, StoreRecord)]

    def due(self, kind: type[Due]) -> list[Due]:
        found = [effect for effect in self.witness.awaited if isinstance(effect, kind)]
        return sorted(found, key=repr)

    def mint(self) -> str:
        self.count += 1
        return f"c{self.count}"

    @rule(of=st.sampled_from([READ, SEND, FILE]), arguments=st.sampled_from([b'{"id":"m1"}', b"{}"]))
    def ask(self, of: type, arguments: bytes) -> None:
        self.feed(CallRequested(request(self.mint(), of, arguments)))

    @rule(code=st.sampled_from(RejectionCode))
    def reject(self, code: RejectionCode) -> None:
        self.feed(CallRejected(rejection(self.mint(), code)))

    @precondition(lambda self: self.due(AskPolicy))
    @rule(data=st.data(), decided=DECISIONS, late=st.booleans())
    def decide(self, data: st.DataObject, decided: object, late: bool) -> None:
        asked = data.draw(st.sampled_from(self.due(AskPolicy)))
        policy = self.run.policy
        digest = "old" if late and policy.revision > 1 else policy.digest
        self.feed(VerdictReached(asked.call, replace(decided, revision=policy.revision, digest=digest)))

    @precondition(lambda self: self.due(AskPolicy))
    @rule(data=st.data())
    def fail_to_decide(self, data: st.DataObject) -> None:
        self.feed(VerdictFailed(data.draw(st.sampled_from(self.due(AskPolicy))).call, "timeout"))

    @precondition(lambda self: self.due(TransformArguments))
    @rule(data=st.data(), fits=st.booleans())
    def transform(self, data: st.DataObject, fits: bool) -> None:
        asked = data.draw(st.sampled_from(self.due(TransformArguments))).request
        self.feed(ArgumentsTransformed(changed(asked)) if fits else TransformFailed(asked.call))

    @precondition(lambda self: self.due(StoreRecord))
    @rule(data=st.data(), luck=st.integers(0, 19))
    def store(self, data: st.DataObject, luck: int) -> None:
        call = data.draw(st.sampled_from(self.due(StoreRecord))).call
        self.feed(RecordStored(call, 1) if luck else RecordFailed(call))

    @precondition(lambda self: self.due(SeekApproval))
    @rule(data=st.data(), late=st.integers(0, 9), fits=st.integers(0, 9), id_=st.sampled_from("pqrs"))
    def approve(self, data: st.DataObject, late: int, fits: int, id_: str) -> None:
        ask = data.draw(st.sampled_from(self.due(SeekApproval))).ask
        if not fits:
            ask = replace(ask, binding="00" * 32)
        self.feed(approves(ask, id_, ask.expires_ms - (late > 0)))

    @precondition(lambda self: self.due(SeekApproval))
    @rule(data=st.data(), why=st.sampled_from(Unapproved))
    def refuse(self, data: st.DataObject, why: Unapproved) -> None:
        self.feed(refuses(data.draw(st.sampled_from(self.due(SeekApproval))).ask, why))

    @precondition(lambda self: self.due(ForwardCall))
    @rule(data=st.data(), answer=st.sampled_from(ANSWERS))
    def answer(self, data: st.DataObject, answer: object) -> None:
        call = data.draw(st.sampled_from(self.due(ForwardCall))).request.call
        self.feed(ResultArrived(call, answer) if isinstance(answer, Result) else ResultFailed(call, answer))

    @precondition(lambda self: self.run.open)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        self.feed(CallCancelled(data.draw(st.sampled_from(sorted(self.witness.requested)))))

    @rule()
    def reload(self) -> None:
        revision = self.run.policy.revision + 1
        self.feed(PolicyReloaded(revision, f"d{revision}"))

    @rule()
    def crash(self) -> None:
        self.witness.check_crash(tuple((record.type, record.body) for record in self.stored))
        self.log += self.stored
        state = resume(((record.type, read_body(record.body)) for record in self.log), self.floor)
        ttl = self.run.approval_ttl_ms
        self.start(Run.resume(IDENTITY, PROMPT, self.run.policy, state, approval_ttl_ms=ttl))

    @invariant()
    def the_records_give_the_run(self) -> None:
        """C8, first half: the fold of all records is the run's label and counters."""
        if hasattr(self, "run"):
            records = self.log + self.emitted
            state = resume(((record.type, read_body(record.body)) for record in records), self.floor)
            assert (state.label, state.usage) == (self.run.label, self.run.usage)

    def teardown(self) -> None:
        """C5 and C8, second half: the same events give the same effects and the same record bytes."""
        if hasattr(self, "run"):
            run = self.first
            for event, effects in zip(self.events, self.effects, strict=True):
                run, again = run.receive(event)
                assert again == effects
            assert run == self.run and hash(run) == hash(self.run)


@pytest.mark.guarantee("G10")
class TestRun(RunMachine.TestCase):  # type: ignore[misc]  # Hypothesis builds the class at run time
    """Hypothesis drives the machine."""

    settings = settings(max_examples=60, stateful_step_count=40)


ONE_LIFE = """
from trionyx_testing.calls import *
from trionyx_proxy.core.event import *
run, log = new_run(Label(categories=frozenset("zyxwv"), readers=frozenset("abcdef"))), b""
for event in (CallRequested(request("a")), VerdictReached("a", ALLOW), RecordStored("a", 1), ResultArrived("a", OK)):
    run, effects = run.receive(event)
    log += b"".join(getattr(effect, "body", b"") + getattr(effect, "document", b"") for effect in effects)
print(hashlib.sha256(log).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.guarantee("G10")
def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    path = os.pathsep.join(sys.path)
    digests = {
        subprocess.run(
            [sys.executable, "-c", ONE_LIFE],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1 and len(digests.pop()) == 65
