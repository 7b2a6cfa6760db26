"""Why one call went as it went, as values: where its arguments came from, which rules decided, what the label did.

Joins what the records say with titles of rules and, where they are given, with the arguments' values. Says nothing
that the records do not say: a rule whose bundle is not at hand keeps its bare id, a call that is not in the log is
told as such. `sentence` puts it in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import Reason
from trionyx_proxy.core.verdict import HOST_REASONS
from trionyx_proxy.story.chronicle import Act, Call, Chronicle, Decision, Origin, Rise, Source
from trionyx_proxy.story.wording import PARTS

MAX_ARGUMENTS: Final = 64
MAX_SOURCES: Final = 4
MAX_CAUSES: Final = 8
"""Causes that are told for readers, and for categories; integrity and level can have but one each."""
MAX_ACTS: Final = 16
MAX_DEPTH: Final = 64

Scalar = str | int | float | bool | None
Titles = Mapping[str, Mapping[str, Reason]]
"""By digest of a bundle, what it says of each rule id."""

_INTERNAL: Final = Reason("TRX-INTERNAL", "the proxy stopped after an internal error")
_HOST: Final = {rule.value: reason for rule, reason in HOST_REASONS.items()} | {"TRX-INTERNAL": _INTERNAL}


class Trust(StrEnum):
    """What is known of the log that an explanation rests on."""

    VERIFIED = "verified"
    UNCHECKED = "unchecked"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class Basis:
    """The log that was read.

    Args:
        origin: name that the log claims.
        trust: verified with a key; not checked for want of one; or damaged, and read all the same.
        notes: findings, in the verifier's static words.
        records: how many were read.
    """

    origin: str
    trust: Trust
    notes: tuple[str, ...]
    records: int


@dataclass(frozen=True, slots=True)
class RuleText:
    """A rule that took part; `known` is false where the bundle that decided is not at hand."""

    id: str
    title: str
    remedy: str
    known: bool


@dataclass(frozen=True, slots=True)
class Reference:
    """A source of an argument, found in the log or not.

    Args:
        source: as recorded.
        number: of the call it names, if that is in this log; else 0.
        is_earlier: the call it names began before the one explained.
    """

    source: Source
    number: int
    is_earlier: bool


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: where it came from, as recorded, and its value where asked for.

    Args:
        origin: None for a leaf of the arguments of which no origin is recorded.
        value: a tuple of one value, or () if it is not shown.
    """

    pointer: str
    origin: Origin | None
    references: tuple[Reference, ...]
    value: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class Cause:
    """A record that made one part of the run's label what it is; `number` is 0 and `call` "" for no call.

    Args:
        part: `integrity`, `level`, `readers` or `categories`.
        type: type of the record.
        is_error: the call brought an error.
    """

    part: str
    seq: int
    type: str
    call: str
    number: int
    tool: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is to be said about one call.

    Args:
        before: the run's label that the call was decided under, without its own part.
        causes: why `before` is what it is, in order.
        start: the label the run began with.
        added: the rises that this call's own records brought.
        after: the run's label after the call's last record.
        decided_by: rules of the policy's answer.
        refused_by: rules of the denial.
        acts: what people did about it.
        parent: run and agent of the run that this one is a child of; both "" for none.
    """

    basis: Basis
    run: str
    registered: bool | None
    call: Call
    arguments: tuple[Argument, ...]
    arguments_left_out: int
    decision: Decision | None
    decided_by: tuple[RuleText, ...]
    refused_by: tuple[RuleText, ...]
    start: Label
    before: Label
    after: Label
    causes: tuple[Cause, ...]
    added: tuple[Rise, ...]
    acts: tuple[Act, ...]
    parent: tuple[str, str] = ("", "")


def explain(
    chronicle: Chronicle, call: Call, basis: Basis, titles: Titles, values: object = None
) -> Explanation:
    """Put together what is known about a call.

    Args:
        chronicle: the run.
        call: one of its calls.
        basis: what the records rest on.
        titles: of the bundles at hand.
        values: the decided arguments as decoded JSON, or None to show none.
    """
    decision = call.decision
    texts = titles.get(decision.digest) if decision else None
    arguments = tuple(_arguments(chronicle, call, values))
    last = max(call.seqs, default=-1)
    past = [rise for rise in chronicle.rises if rise.seq < max(call.deciding_seq, min(call.seqs, default=0))]
    after = [rise.after for rise in chronicle.rises if rise.seq <= last]
    return Explanation(
        basis=basis,
        run=chronicle.run,
        registered=chronicle.registered,
        call=call,
        arguments=arguments[:MAX_ARGUMENTS],
        arguments_left_out=max(0, len(arguments) - MAX_ARGUMENTS),
        decision=decision,
        decided_by=_texts(decision.rules if decision else (), texts),
        refused_by=_texts(call.refused_by, texts),
        start=chronicle.start,
        before=call.seen if call.seen is not None else (past[-1].after if past else chronicle.start),
        after=after[-1] if after else chronicle.start,
        causes=tuple(_causes(chronicle, [rise for rise in past if rise.call != call.id])),
        added=tuple(rise for rise in chronicle.rises if rise.call == call.id),
        acts=tuple(_acts(chronicle, call, arguments))[:MAX_ACTS],
        parent=chronicle.parent,
    )


def parts_changed(before: Label, after: Label) -> tuple[str, ...]:
    """Return the names of the label's parts in which two labels differ."""
    return tuple(part for part in PARTS if getattr(before, part) != getattr(after, part))


def leaves(value: object, pointer: str = "", depth: int = MAX_DEPTH) -> Iterator[tuple[str, Scalar]]:
    """Yield the scalars of decoded JSON with their pointers (RFC 6901); what is nested deeper is passed over."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for member, inner in items if depth else ():
            step = str(member).replace("~", "~0").replace("/", "~1")
            yield from leaves(inner, f"{pointer}/{step}", depth - 1)
    elif value is None or isinstance(value, str | int | float):
        yield pointer, value


def _arguments(chronicle: Chronicle, call: Call, values: object) -> Iterator[Argument]:
    found = dict(leaves(values)) if isinstance(values, dict) else {}
    for origin in call.origins:
        references = tuple(_reference(chronicle, call, source) for source in origin.sources[:MAX_SOURCES])
        # A link stands inside an argument that has an entry of its own, or is content.
        shown = origin.role != "link" and origin.argument in found
        value: tuple[Scalar, ...] = (found.pop(origin.argument),) if shown else ()
        yield Argument(origin.argument, origin, references, value)
    for pointer, rest in found.items():
        yield Argument(pointer, None, (), (rest,))


def _reference(chronicle: Chronicle, call: Call, source: Source) -> Reference:
    other = chronicle.calls.get(source.call) if source.call else None
    return Reference(source, other.number if other else 0, other is not None and other.number < call.number)


def _texts(rules: Iterable[str], texts: Mapping[str, Reason] | None) -> tuple[RuleText, ...]:
    found: list[RuleText] = []
    for rule in rules:
        reason = _HOST.get(rule) or (texts or {}).get(rule)
        found.append(
            RuleText(
                rule, reason.title if reason else "", reason.remedy if reason else "", reason is not None
            )
        )
    return tuple(found)


def _causes(chronicle: Chronicle, rises: list[Rise]) -> Iterator[Cause]:
    """Yield what made each part of the label what it is after these rises; the last step of a rank, each of a set."""
    steps: dict[str, list[Rise]] = {part: [] for part in PARTS}
    for rise in rises:
        for part in parts_changed(rise.before, rise.after):
            steps[part].append(rise)
    for part, raised in steps.items():
        for rise in raised[-1:] if part in ("integrity", "level") else raised[:MAX_CAUSES]:
            call = chronicle.calls.get(rise.call) if rise.call else None
            yield Cause(
                part,
                rise.seq,
                rise.type,
                rise.call,
                call.number if call else 0,
                call.tool if call else "",
                rise.type == "call.outcome"
                and call is not None
                and call.ending.value in ("tool_error", "failed"),
            )


def _acts(chronicle: Chronicle, call: Call, arguments: Iterable[Argument]) -> Iterator[Act]:
    named = {call.id, call.consent.id}
    for argument in arguments:
        for reference in argument.references:
            if reference.source.kind == "endorsement":
                named |= {reference.source.call, reference.source.pointer}
    named.discard("")
    for act in chronicle.acts:
        if not named.isdisjoint(
            act.members.get(member, "") for member in ("call", "approval", "endorsement")
        ):
            yield act
