"""What a tool's bytes say changes nothing but the bytes delivered: no decision, no label, no record member."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trionyx_proxy.core.effect import AskPolicy, Effect, ForwardCall, ReturnResult, StoreRecord
from trionyx_proxy.core.event import (
    CallCancelled,
    CallRequested,
    Event,
    RecordFailed,
    RecordStored,
    ResultArrived,
    VerdictReached,
)
from trionyx_proxy.core.request import Result
from trionyx_proxy.core.run import Run
from trionyx_testing.calls import (
    ALLOW,
    DENY,
    FILE,
    OK,
    READ,
    SEND,
    TOOL_ERROR,
    call_of,
    new_run,
    request,
)

SECRETS = st.binary(min_size=1, max_size=30)


def low(effect: Effect) -> object:
    """The effect as somebody sees it who may not see results: the bytes are replaced, everything else stays."""
    match effect:
        case ReturnResult(result=result):
            return replace(effect, result=replace(result, body=b""))
        case StoreRecord(payloads=payloads) if "result" in payloads:
            return replace(effect, payloads={**payloads, "result": b""}), payloads.keys()
    return effect


def answered(effect: Effect, choice: int, body: bytes) -> Event | None:
    """One answer to an effect; which one depends on the choice and never on the body."""
    call = call_of(effect)
    match effect:
        case AskPolicy():
            return VerdictReached(call, DENY if choice % 5 == 0 else ALLOW)
        case StoreRecord():
            return RecordFailed(call) if choice == 31 else RecordStored(call, 1)
        case ForwardCall():
            return ResultArrived(call, Result((TOOL_ERROR if choice % 7 == 0 else OK).status, body))
    return None


def life(choices: list[int], bodies: list[bytes]) -> tuple[Run, list[object]]:
    """One run under a schedule: choices say what happens next, bodies what the tools answer."""
    run, due, seen = new_run(), [], []
    for step, choice in enumerate(choices):
        event: Event | None
        if not due or choice % 4 == 0:
            event = CallRequested(request(f"c{step}", (READ, SEND, FILE)[choice % 3]))
        elif choice % 11 == 0 and run.open:
            event = CallCancelled(run.open[0].id)
        else:
            event = answered(due.pop(choice % len(due)), choice, bodies[step % len(bodies)])
        assert event is not None
        run, effects = run.receive(event)
        due += [effect for effect in effects if isinstance(effect, AskPolicy | StoreRecord | ForwardCall)]
        seen.append([low(effect) for effect in effects])
    return run, seen


@pytest.mark.guarantee("G10")
@given(
    st.lists(st.integers(0, 31), max_size=60),
    st.lists(SECRETS, min_size=1, max_size=5),
    st.lists(SECRETS, min_size=1, max_size=5),
)
@example(choices=[4, 1, 1, 1, 1], bodies=[b"one"], others=[b"four"])  # a delivery, in every execution
def test_runs_that_differ_in_result_bytes_alone_look_the_same_without_them(
    choices: list[int], bodies: list[bytes], others: list[bytes]
) -> None:
    run, seen = life(choices, bodies)
    other, seen_too = life(choices, others)
    assert seen == seen_too
    assert (run.label, run.usage, run.poisoned) == (other.label, other.usage, other.poisoned)


def test_the_schedules_reach_deliveries_with_different_bytes() -> None:
    """The property would be hollow if no schedule ever delivered a result."""
    choices = [4, 1, 1, 1, 1]
    _, seen = life(choices, [b"one"])
    assert any(isinstance(effect, ReturnResult) for effects in seen for effect in effects)
