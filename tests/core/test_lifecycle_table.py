"""The lifecycle table itself: closed, executed as it stands, and nothing beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from trionyx_proxy.core.approval import Approval, Ask, Unapproved
from trionyx_proxy.core.call import OpenCall, State
from trionyx_proxy.core.event import (
    ApprovalGiven,
    ApprovalRefused,
    ArgumentsTransformed,
    CallCancelled,
    CallRejected,
    CallRequested,
    Event,
    RecordFailed,
    RecordStored,
    ResultArrived,
    ResultFailed,
    TransformFailed,
    VerdictFailed,
    VerdictReached,
)
from trionyx_proxy.core.label import BOTTOM
from trionyx_proxy.core.lifecycle import ROWS, TABLE, CallEvent, Guard, Step
from trionyx_proxy.core.request import CallId
from trionyx_proxy.errors import ProtocolError
from trionyx_testing.calls import ALLOW, CRASHED, OK, new_run, rejection, request

A = CallId("a")
SAMPLES: dict[type[CallEvent], Event] = {
    CallRequested: CallRequested(request("a")),
    CallRejected: CallRejected(rejection("a")),
    VerdictReached: VerdictReached(A, ALLOW),
    VerdictFailed: VerdictFailed(A, "timeout"),
    ArgumentsTransformed: ArgumentsTransformed(request("a")),
    TransformFailed: TransformFailed(A),
    RecordStored: RecordStored(A, 1),
    RecordFailed: RecordFailed(A),
    ApprovalGiven: ApprovalGiven(A, Approval("q1", "dana", ("APP-001",), 2, "00" * 32), 1),
    ApprovalRefused: ApprovalRefused(A, Unapproved.EXPIRED),
    ResultArrived: ResultArrived(A, OK),
    ResultFailed: ResultFailed(A, CRASHED),
    CallCancelled: CallCancelled(A),
}


def test_every_kind_of_event_is_in_the_table() -> None:
    assert set(SAMPLES) == set(get_args(CallEvent)) == {row.event for row in ROWS}


def test_the_last_row_of_each_pair_always_holds_and_no_guard_comes_twice() -> None:
    for rows in TABLE.values():
        guards = [row.guard for row in rows]
        assert guards[-1] is Guard.ALWAYS
        assert len(set(guards)) == len(guards)


def test_every_state_guard_and_step_is_used() -> None:
    assert {row.state for row in ROWS} | {row.next for row in ROWS} == set(State)
    assert {row.guard for row in ROWS} == set(Guard)
    assert {step for row in ROWS for step in row.steps} == set(Step)


def test_every_row_gives_its_reason_in_one_line() -> None:
    for row in ROWS:
        assert row.reason and "\n" not in row.reason and not row.reason.endswith(".")


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
def test_only_a_stored_record_releases_a_call_or_a_result() -> None:
    for row in ROWS:
        if Step.FORWARD in row.steps:
            assert (row.state, row.event) == (State.RECORDING_INTENT, RecordStored)
        if Step.RETURN in row.steps:
            assert (row.state, row.event) == (State.RECORDING_OUTCOME, RecordStored)


@pytest.mark.guarantee("G09")
def test_a_poisoned_run_is_asked_about_before_anything_else_is() -> None:
    for (state, event), rows in TABLE.items():
        releases = {Step.FORWARD, Step.RETURN, Step.ASK, Step.SEEK, Step.ADOPT_APPROVAL, Step.RECORD_INTENT}
        if any(releases & set(row.steps) for row in rows):
            assert rows[0].guard is Guard.POISONED, (state, event)


@pytest.mark.guarantee("G08")
def test_a_call_ends_exactly_where_it_is_answered() -> None:
    for row in ROWS:
        answers = [step for step in row.steps if step in (Step.RETURN, Step.REFUSE)]
        expected = 1 if row.next is State.DONE else 0
        if (row.state, row.event) == (State.NEW, CallCancelled):
            expected = 0
        assert len(answers) == expected, row


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("state", [state for state in State if state not in (State.NEW, State.DONE)])
@pytest.mark.parametrize("event", list(SAMPLES), ids=lambda event: event.__name__)
def test_what_has_no_row_is_refused_and_changes_nothing(state: State, event: type[CallEvent]) -> None:
    run = new_run()
    known = OpenCall(A, request("a"), BOTTOM, state, ask=Ask(request("a"), (), 2, "", ""), result=OK)
    run = replace(run, open=(known,))
    if (state, event) in TABLE:
        run.receive(SAMPLES[event])
    else:
        with pytest.raises(ProtocolError):
            run.receive(SAMPLES[event])
    assert run.open == (known,)


@pytest.mark.parametrize("event", list(SAMPLES), ids=lambda event: event.__name__)
def test_an_event_for_a_call_that_is_not_open_begins_one_or_is_refused(event: type[CallEvent]) -> None:
    if (State.NEW, event) in TABLE:
        new_run().receive(SAMPLES[event])
    else:
        with pytest.raises(ProtocolError, match="not open"):
            new_run().receive(SAMPLES[event])


def test_a_rejected_message_has_no_request_and_an_open_call_no_result() -> None:
    call = OpenCall(A, rejection("a"), BOTTOM)
    with pytest.raises(ProtocolError, match="`a` has no request"):
        _ = call.request
    with pytest.raises(ProtocolError, match="`a` has no result"):
        _ = call.answer
    with pytest.raises(ProtocolError, match="`a` has no verdict"):
        _ = call.judged
    with pytest.raises(ProtocolError, match="`a` has no question"):
        _ = call.question_put
    with pytest.raises(ProtocolError, match="`a` has no approval"):
        _ = call.approval_given
