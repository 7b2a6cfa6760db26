"""An explanation in sentences for a person who knows neither the code nor the records.

Every received string goes through `plaintext`, and values stand on lines of their own. Every sentence says what the
records say, and where they say nothing it says that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.story.chronicle import Act, Ending, Message
from trionyx_proxy.story.explanation import (
    Argument,
    Basis,
    Cause,
    Explanation,
    Reference,
    RuleText,
    Scalar,
    Trust,
    parts_changed,
)
from trionyx_proxy.story.plaintext import ascii_only, name, quoted, visible
from trionyx_proxy.story.wording import label_words, sink_words

MAX_MEMBERS: Final = 8
MAX_RULES: Final = 16
MAX_OBLIGATIONS: Final = 8
MAX_MESSAGES: Final = 8
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)[.\d]{0,10}Z")
_LAST_MS: Final = 253_402_300_799_999  # the end of the year 9999, the last that a date can show

_TRUSTED: Final = {"user": "the user", "system": "the system", "org": "the organisation"}
_WHY: Final = {
    "rejected": "the person said no",
    "expired": "nobody answered in time",
    "pending": "nobody has answered yet",
    "unanswerable": "there was nobody to ask",
    "void": "the question was withdrawn, or its answer was for something else",
}


def sentences(told: Explanation) -> Iterator[str]:
    """Yield an explanation line by line; an empty line parts its sections."""
    call = told.call
    what = name(call.tool) if call.tool else "a message that never became a call"
    yield f"Call {call.number} ({name(call.id)}) of run {name(told.run)}: {what}"
    yield basis(told.basis)
    yield ""
    yield from _who(told)
    yield ""
    yield from _arguments(told)
    yield ""
    yield from _decision(told)
    yield from _people(told)
    yield ""
    yield from _label(told)
    yield ""
    yield from _outcome(told)


def basis(found: Basis) -> str:
    """Say what is known of the log."""
    log = f"The log {name(found.origin)} ({_count(found.records, 'record')})"
    notes = f" Noted: {'; '.join(visible(note) for note in found.notes)}." if found.notes else ""
    match found.trust:
        case Trust.VERIFIED:
            return f"{log} was verified with the given key.{notes}"
        case Trust.UNCHECKED:
            warning = "since no key was given: whoever can write to it can have made this up"
            return f"{log} was NOT VERIFIED, {warning}.{notes}"
        case Trust.DAMAGED:
            return f"{log} DOES NOT VERIFY: nothing that follows can be relied on.{notes}"


def _who(told: Explanation) -> Iterator[str]:
    call = told.call
    agent, user, tenant = call.caller
    whose = f"{name(user)} of {name(tenant)}" if tenant else name(user)
    caller = (
        f"the agent {name(agent)}, acting for {whose}," if agent or user else "an agent without a run token"
    )
    who = f"At {_time(call.ts)} {caller}"
    if call.tool:
        effect = f", a tool with the effect {name(call.effect)}" if call.effect else ""
        yield f"{who} called {name(call.tool)}{effect}."
    elif call.subject or call.code:
        yield f"{who} sent a message that never became a call. It named {quoted(call.subject)}."
    else:
        yield f"{who} had a call under way, of which the log holds no more than its end."
    run, agent_above = told.parent
    if run:
        yield f"Its run is a child of run {name(run)} of the agent {name(agent_above)}."
    if call.trace:
        yield f"The agent's own id for it is {name(call.trace)}."


def _arguments(told: Explanation) -> Iterator[str]:
    if not told.arguments:
        yield "No origins of arguments are recorded for it."
        return
    yield "Where its arguments came from:"
    for argument in told.arguments:
        yield f"  {_argument(argument, told)}"
        if argument.value:
            yield f"      {_value(argument.value[0])}"
    if told.arguments_left_out:
        yield f"  … and {told.arguments_left_out} more."


def _argument(argument: Argument, told: Explanation) -> str:
    pointer, origin = name(argument.pointer or "(all)"), argument.origin
    if origin is None:
        return f"{pointer}: no origin is recorded."
    what = f"{pointer} ({name(origin.role)}{', a handle' if origin.handle else ''})"
    if not argument.references:
        return f"{what}: nobody trusted vouches for it. The agent may have it from anywhere."
    places = "; also ".join(
        _source(reference, told, is_handle=origin.handle).removesuffix(",")
        for reference in argument.references
    )
    worth = _TRUSTED.get(origin.integrity)
    trusted = f" It counts as written by {worth}." if worth else " It counts as written by anybody."
    return f"{what}: {places}.{trusted}"


def _source(reference: Reference, told: Explanation, *, is_handle: bool) -> str:
    source = reference.source
    place = f" at {name(source.pointer)}" if source.pointer else ""
    match source.kind:
        case "prompt":
            return "it stands in the registered prompt" if told.registered else "it stands in the prompt"
        case "result":
            return f"it stands in the result of {_other(reference)}{place}"
        case "handle":
            how = "is" if is_handle else "was taken from"
            return f"it {how} the text behind a handle of {_other(reference)}{place}"
        case "endorsement":
            act = f" ({name(source.call or source.pointer)})" if source.call or source.pointer else ""
            return f"a person, or a rule of the operator, has endorsed it{act}"
        case _:
            return f"a source of the unknown kind {name(source.kind)}"


def _other(reference: Reference) -> str:
    source = reference.source
    tool = f", {name(source.tool)}" if source.tool else ""
    if not reference.number:
        return f"the call {name(source.call)}{tool}, which is not in this log,"
    if not reference.is_earlier:
        return f"call {reference.number}{tool}, WHICH CAME LATER,"
    return f"call {reference.number}{tool},"


def _decision(told: Explanation) -> Iterator[str]:
    call, decision = told.call, told.decision
    if decision is None:
        if call.tool and call.ending is not Ending.DENIED:
            yield "The log holds no decision on it."
    else:
        verb = {"allow": "allowed it", "deny": "denied it", "ask": "left it to a person"}
        yield f"The policy {verb.get(decision.outcome, f'answered {name(decision.outcome)}')}{_by(told.decided_by)}"
        yield from _rules(told.decided_by)
        if call.attempts > 1:
            why = "since the label, the policy or a person's answer changed meanwhile"
            yield f"It was decided for release {call.attempts} times, {why}."
        for rule, type_, pointer in decision.obligations[:MAX_OBLIGATIONS]:
            where = f" {name(pointer)}" if pointer else ""
            yield f"On condition: {_DUTY.get(type_, name(type_))}{where} (rule {name(rule)})."
        if not all(rule.known for rule in (*told.decided_by, *told.refused_by)):
            yield (
                "What a rule without words says stands in the bundle that decided, which is not at hand: "
                f"revision {decision.revision}, digest {name(decision.digest[:12])}."
            )
    if call.ending is Ending.DENIED and (decision is None or call.refused_by != decision.rules):
        further = tuple(rule for rule in told.refused_by if rule not in told.decided_by)
        yield f"The proxy refused it{_by(further)}"
        yield from _rules(further)
        if call.code and call.tool:
            yield f"The policy gave no answer: {name(call.code)}."


_DUTY: Final = {
    "hide_text": "untrusted text of the result is shown as handles only",
    "drop_arg": "an argument is left out:",
    "replace_arg": "an argument is replaced:",
    "max_result_bytes": "the result is limited in size",
}


def _by(rules: tuple[RuleText, ...]) -> str:
    if not rules:
        return ", and the record names no rule."
    return f", by {'this rule' if len(rules) == 1 else 'these rules'}:"


def _rules(rules: tuple[RuleText, ...]) -> Iterator[str]:
    for rule in rules[:MAX_RULES]:
        yield f"  {name(rule.id)}: {quoted(rule.title)}." if rule.known else f"  {name(rule.id)}."
        if rule.remedy:
            yield f"      What would be allowed: {quoted(rule.remedy)}."
    if len(rules) > MAX_RULES:
        yield f"  … and {len(rules) - MAX_RULES} more."


def _people(told: Explanation) -> Iterator[str]:
    call, consent = told.call, told.call.consent
    if call.questions:
        often = "once" if call.questions == 1 else f"{call.questions} times"
        until = f", who could answer until {_moment(consent.expires_ms)}" if consent.expires_ms else ""
        yield f"A person was asked about it {often}{until}."
    if consent.by:
        yield f"{name(consent.by)} approved it (approval {name(consent.id)})."
    elif consent.why:
        question = f" (question {name(consent.id)})" if consent.id else ""
        yield f"No approval came of it: {_WHY.get(consent.why, name(consent.why))}{question}."
    elif call.questions and call.ending is Ending.ASKED:
        yield "The log holds no answer."
    for act in told.acts:
        yield _act(act)


_ACTS: Final = {
    "approval.asked": "a question was put to people",
    "approval.approved": "a person said yes",
    "approval.rejected": "a person said no",
    "approval.expired": "the question was over",
    "approval.used": "the approval was used up",
    "endorsement.given": "a value was endorsed",
    "endorsement.revoked": "an endorsement was taken back",
}


def _act(act: Act) -> str:
    members = ", ".join(
        f"{name(member)} {name(value)}" for member, value in sorted(act.members.items())[:MAX_MEMBERS]
    )
    what = _ACTS.get(act.type, name(act.type))
    return f"At {_time(act.ts)} {what} (record {act.seq}: {members or 'it says no more'})."


def _label(told: Explanation) -> Iterator[str]:
    yield f"When it was decided, the run had seen {label_words(told.before)}."
    for _, together in groupby(sorted(told.causes, key=lambda cause: cause.seq), key=lambda cause: cause.seq):
        yield f"  {_cause(tuple(together), told.before)}"
    if not told.causes and told.before == told.start:
        yield "  So it began, and no call before this one had changed that."
    sink = told.call.sink
    if sink is not None:
        verdict = "is within that" if told.before.flows_to(sink) else "goes BEYOND that"
        yield f"Into this call may flow no more than {sink_words(sink)}. What the run had seen {verdict}."
    if not told.added:
        yield "The call added nothing to that."
        return
    parts = {part for rise in told.added for part in parts_changed(rise.before, rise.after)}
    after = told.added[-1].after
    yield f"The call raised the run's label: from then on the run had seen {label_words(after, parts)}."


def _cause(causes: tuple[Cause, ...], label: Label) -> str:
    """Say what one record did to the label."""
    cause, parts = causes[0], [cause.part for cause in causes]
    is_taint = "integrity" in parts and label.integrity is Integrity.PUBLIC
    held = f"It {'was tainted, with' if is_taint else 'had'} {label_words(label, parts)}, since"
    if cause.type == "run.resume":
        return f"{held} another process took the run up (record {cause.seq})."
    if not cause.number:
        return f"{held} record {cause.seq}."
    call = f"call {cause.number}{f', {name(cause.tool)},' if cause.tool else ''}"
    how = {
        "call.intent": "was let through: its results are declared so",
        "call.outcome": "brought an error" if cause.is_error else "brought its result",
        "call.denied": "was refused",
        "call.asked": "waited for a person",
    }.get(cause.type, "was recorded")
    return f"{held} {call} {how} (record {cause.seq})."


def _outcome(told: Explanation) -> Iterator[str]:
    call = told.call
    match call.ending:
        case Ending.OPEN | Ending.ASKED:
            yield "The log holds no end of it: it is under way, or its process ended and it may have taken effect."
        case Ending.DENIED:
            yield "It was not carried out, and the agent was told so in the words of the rules."
        case Ending.CANCELLED:
            yield "The agent withdrew it before it was sent. It had no effect."
        case Ending.IN_DOUBT:
            yield "No process saw its end: it may have taken effect. The agent got no result."
        case Ending.FAILED:
            effect = (
                "it had been sent, and may have taken effect"
                if call.sent
                else "it was never sent, and had no effect"
            )
            yield f"The tool gave no usable result ({name(call.failure)}): {effect}."
        case Ending.OK | Ending.TOOL_ERROR:
            answer = (
                "reported an error"
                if call.ending is Ending.TOOL_ERROR
                else "carried it out and gave a result"
            )
            shown = "WAS WITHHELD from the agent" if call.withheld else "was given to the agent"
            yield f"The tool {answer}, which {shown}."
            if call.hidden_bytes and not call.withheld:
                yield f"Of that, {_count(call.hidden_bytes, 'byte')} of text reached the agent only as handles."
            for message in call.messages[:MAX_MESSAGES]:
                yield _message(message)


def _message(message: Message) -> str:
    run = f", run {name(message.run)}" if message.run else ""
    deed = "It sent" if message.sent else "It received"
    way = "to" if message.sent else "from"
    seen = f" What the sending run had seen: {label_words(message.label)}." if message.label else ""
    what = f"the {name(message.kind)} {name(message.id)} {way} the agent {name(message.agent)}{run}"
    return f"{deed} {what}.{seen}"


def _value(value: Scalar) -> str:
    if isinstance(value, str):
        return quoted(value)
    return (
        "null" if value is None else ascii_only(str(value).lower() if isinstance(value, bool) else str(value))
    )


def _time(ts: str) -> str:
    found = _TIME.fullmatch(ts)
    return f"{found[1]} {found[2]} UTC" if found else name(ts)


def _moment(ms: int) -> str:
    if not 0 <= ms <= _LAST_MS:
        return "a time beyond all calendars"
    return f"{datetime.fromtimestamp(ms // 1_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
