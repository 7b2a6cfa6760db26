"""Every reachable state of the real core, for a few concurrent calls, and C1–C8 checked on every edge.

A model checker over `Run.receive` itself: from a new run it takes every event that a correct driver could feed next
(each answer that is due, the next request, a withdrawal, a policy reload, a crash) and follows each until no new
state is found. No state is merged with another unless run, witness and remaining plan are equal, member by member;
equal parts are only replaced by small numbers, to fit in memory. The records on the way to a state differ
between paths; they are checked along the first path to it, and nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace

import pytest

from trionyx_policies.decision import Decision, Outcome
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
from trionyx_proxy.core.request import Request, Result
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
    Witness,
    approves,
    changed,
    new_run,
    read_body,
    refuses,
    request,
)

Records = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class World:
    """What may happen in a walk.

    Args:
        calls: what the agent asks for, each once, in any order and at any time.
        decisions: what the policy may answer, besides failing; rendered for the policy in force.
        reloads, crashes: how often.
        withdrawals: calls that the agent may withdraw.
        losses: whether the log may fail.
        failures: whether policy and upstreams may fail.
        tool_errors: whether tools may report errors besides results and failures.
        results: what tools may answer otherwise.
        repeats: whether each step is taken twice and compared.
        asks: whether a person can be asked; answers then are no, none, void, yes, and a yes to something else. All
            answers that are a yes come under one id, as if one act of a person was to serve every call.
    """

    calls: tuple[Request, ...]
    decisions: tuple[Decision, ...]
    reloads: int = 0
    crashes: int = 0
    withdrawals: str = "ab"
    losses: bool = True
    failures: bool = True
    tool_errors: bool = True
    results: tuple[Result, ...] = (OK,)
    repeats: bool = True
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One state of run and world, with the records on the first path to it.

    Args:
        earlier: what an earlier process of the run had stored when it died.
        emitted, stored: all records of this process, and those acknowledged.
    """

    run: Run
    witness: Witness
    left: tuple[Request, ...]
    reloads: int
    crashes: int
    earlier: Records = ()
    emitted: Records = ()
    stored: Records = ()


def answers(world: World, node: Node, effect: Effect) -> Iterator[Event]:
    match effect:
        case AskPolicy(call=call):
            if world.failures:
                yield VerdictFailed(call, "timeout")
            known = next(known for known in node.run.open if known.id == call)
            # The policy in force answers, or the one that was when it was asked.
            for policy in {node.run.policy, known.asked[1] if known.asked else node.run.policy}:
                for decision in world.decisions:
                    yield VerdictReached(
                        call, replace(decision, revision=policy.revision, digest=policy.digest)
                    )
        case TransformArguments(request=asked, obligations=obligations):
            yield TransformFailed(asked.call)
            yield ArgumentsTransformed(changed(asked) if obligations else asked)
        case StoreRecord(call=call):
            if world.losses:
                yield RecordFailed(call)
            yield RecordStored(call, 0)
        case SeekApproval(ask=ask):
            yield approves(ask, "q")
            yield approves(replace(ask, binding="00" * 32), "q")
            for why in (Unapproved.REJECTED, Unapproved.PENDING, Unapproved.VOID):
                yield refuses(ask, why)
        case ForwardCall(request=sent):
            for result in world.results:
                yield ResultArrived(sent.call, result)
            if world.tool_errors:
                yield ResultArrived(sent.call, TOOL_ERROR)
            known = next(call for call in node.run.open if call.id == sent.call)
            if known.cancelled or world.failures:
                yield ResultFailed(sent.call, CANCELLED if known.cancelled else CRASHED)


def events(world: World, node: Node) -> Iterator[Event]:
    for asked in node.left:
        yield CallRequested(asked)
    for effect in node.witness.awaited:
        yield from answers(world, node, effect)
    for call in node.run.open:
        if call.id in world.withdrawals:
            yield CallCancelled(call.id)
    if node.reloads:
        yield PolicyReloaded(node.run.policy.revision + 1, "d2")


def follow(world: World, node: Node, event: Event) -> Node:
    run, effects = node.run.receive(event)
    if world.repeats:
        assert node.run.receive(event) == (run, effects), "C5 the core is deterministic"
    due = {effect for effect in node.witness.awaited if isinstance(effect, StoreRecord)}
    stored = next(
        (record for record in due if isinstance(event, RecordStored) and record.call == event.call), None
    )
    return Node(
        run,
        node.witness.saw(node.run, event, run, effects),
        tuple(
            asked for asked in node.left if not (isinstance(event, CallRequested) and event.request is asked)
        ),
        node.reloads - isinstance(event, PolicyReloaded),
        node.crashes,
        node.earlier,
        node.emitted + tuple((e.type, e.body) for e in effects if isinstance(e, StoreRecord)),
        node.stored + (((stored.type, stored.body),) if stored else ()),
    )


def crash(node: Node) -> Node:
    """Begin again in another process, with what the log holds."""
    state = node.witness.check_crash(node.stored)
    run = Run.resume(IDENTITY, PROMPT, node.run.policy, state, approval_ttl_ms=node.run.approval_ttl_ms)
    return Node(run, Witness(floor=state.label), node.left, node.reloads, node.crashes - 1, node.stored)


def walk(world: World, check: Callable[[Node], None]) -> tuple[int, int]:
    """Visit every reachable state once and check each edge; give the number of states and edges."""
    numbers: dict[Hashable, int] = {}

    def number(part: Hashable) -> int:
        return numbers.setdefault(part, len(numbers))

    def key(node: Node) -> tuple[int, ...]:
        run = node.run
        rest = (run.policy, run.label, run.usage, run.poisoned, node.left, node.reloads, node.crashes)
        return (
            number((*rest, run.spent)),
            number(node.witness),
            *(number(call) for call in run.open),
        )

    ttl = TTL_MS if world.asks else 0
    start = Node(new_run(approval_ttl_ms=ttl), Witness(), world.calls, world.reloads, world.crashes)
    seen = {key(start)}
    frontier = [start]
    edges = 0
    while frontier:
        node = frontier.pop()
        check(node)
        following = [follow(world, node, event) for event in events(world, node)]
        if node.crashes:
            following.append(crash(node))
        edges += len(following)
        for reached in following:
            name = key(reached)
            if name not in seen:
                seen.add(name)
                frontier.append(reached)
    return len(seen), edges


def check_state(node: Node) -> None:
    node.witness.check_crash(node.stored)
    state = resume((type_, read_body(body)) for type_, body in node.earlier + node.emitted)
    assert state.label == node.run.label, "C8 the records give the label"
    assert state.usage == node.run.usage, "C8 the records give the counters"
    if not node.witness.awaited:
        assert node.run.open == (), "C6 nothing stays open that awaits nothing"


EVERYTHING = (ALLOW, DENY, ASK, TRANSFORM, replace(ALLOW, labels=(SECRET.encode(),)))
ASK_CHANGED = replace(TRANSFORM, outcome=Outcome.ASK)
"""Asks about other arguments than the agent's."""
A, B, C = request("a", READ), request("b", SEND), request("c", FILE)
"""A read that raises the label, a call that may then no longer go out, and one in between."""

THREE = World((A, B, C), (ALLOW,), withdrawals="", failures=False, tool_errors=False, repeats=False)

FAST = {
    "one call, everything": World((A,), EVERYTHING, reloads=1, crashes=1),
    "two calls, withdrawals": World((A, B), (ALLOW, DENY), tool_errors=False),
    "two calls, hidden text": World(
        (A, B), (ALLOW_HIDING,), withdrawals="a", tool_errors=False, results=(LABELLED, HIDDEN_ERROR)
    ),
    "one call, a person": World(
        (A,), (ALLOW, ASK, ASK_CHANGED), reloads=1, crashes=1, tool_errors=False, asks=True
    ),
    "two calls, a person": World((A, B), (ASK,), withdrawals="a", losses=False, tool_errors=False, asks=True),
    "two calls, reload": World((A, B), (ALLOW,), reloads=1, withdrawals="", tool_errors=False),
}
SLOW = {
    "two calls, reload and crash": World((A, B), (ALLOW, DENY), reloads=1, crashes=1, withdrawals=""),
    "two calls, all but a second life": World((A, B), (ALLOW, DENY, TRANSFORM), reloads=1, repeats=False),
    "two calls, a person, everything": World(
        (A, B),
        (ALLOW, ASK),
        reloads=1,
        withdrawals="a",
        losses=False,
        failures=False,
        tool_errors=False,
        repeats=False,
        asks=True,
    ),
    "three calls, failures": replace(THREE, decisions=(ALLOW, DENY), failures=True),
    "three calls, withdrawals": replace(THREE, withdrawals="b"),
    "three calls, reload": replace(THREE, reloads=1, losses=False),
}


def check_walk(
    name: str, world: World, capsys: pytest.CaptureFixture[str], record: Callable[[str, object], None]
) -> None:
    states, edges = walk(world, check_state)
    record("reachable_states", states)
    with capsys.disabled():
        print(f"\n{name}: {states:,} reachable states, {edges:,} edges")
    assert states > 300, "a walk that stops early shows nothing"


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
@pytest.mark.guarantee("G06")
@pytest.mark.guarantee("G07")
@pytest.mark.guarantee("G08")
@pytest.mark.guarantee("G09")
@pytest.mark.guarantee("G24")
@pytest.mark.parametrize("name", FAST)
def test_every_reachable_state_keeps_every_property(
    name: str, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    """In each state the log may fail and the process may die; what else may happen is in the name."""
    check_walk(name, FAST[name], capsys, record_property)


@pytest.mark.slow
@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G07")
@pytest.mark.parametrize("name", SLOW)
def test_every_reachable_state_of_larger_worlds_keeps_every_property(
    name: str, capsys: pytest.CaptureFixture[str], record_property: Callable[[str, object], None]
) -> None:
    """As above, with three calls at once, or with two and everything that can happen to them."""
    check_walk(name, SLOW[name], capsys, record_property)
