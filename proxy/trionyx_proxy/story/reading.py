"""The records of one run, read into a chronicle.

Reads leniently, since it explains and does not enforce: a member that is missing or of another type is empty, and
a record type that it does not know is counted and passed over. Only labels are read as the proxy reads them:
what is no label is TOP. Verifies nothing. `proxy/DESIGN.md`, Records, has the members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from trionyx_proxy.core.evidence import ASKED, DENIED, INTENT
from trionyx_proxy.core.label import BOTTOM, Label, parse_label
from trionyx_proxy.story.chronicle import (
    MAX_ACTS,
    MAX_SEQS,
    Act,
    Call,
    Chronicle,
    Consent,
    Decision,
    Ending,
    Entry,
    Message,
    Origin,
    Rise,
    Source,
)


def read(entries: Iterable[Entry]) -> Chronicle:
    """Read the records of one run, in the order of its log.

    Never raises on what a record holds. The run is that of the first record which names one.
    """
    reader = _Reader()
    for entry in entries:
        reader.take(entry)
    return reader.chronicle()


class _Reader:
    def __init__(self) -> None:
        self._run = ""
        self._start: Label | None = None
        self._label = BOTTOM
        self._registered: bool | None = None
        self._calls: dict[str, Call] = {}
        self._rises: list[Rise] = []
        self._acts: list[Act] = []
        self._records = self._foreign = 0
        self._parent = ("", "")

    def take(self, entry: Entry) -> None:
        self._records += 1
        run = _text(entry.body, "run")
        self._run = self._run or run
        if run != self._run and run:
            self._foreign += 1
            return
        call = ""
        if entry.type.startswith("call."):
            call = _text(entry.body, "call")
            self._calls[call] = self._with(entry, call)
        elif entry.type == "run.open":
            self._registered = _table(entry.body, "prompt").get("registered") is True
            parent = _table(entry.body, "parent")
            self._parent = _text(parent, "run"), _text(parent, "agent")
        elif entry.type.startswith(("approval.", "endorsement.")) and len(self._acts) < MAX_ACTS:
            self._acts.append(_act(entry))
        # As `core.evidence.resume` reads them: a call's record without a readable label is TOP.
        if entry.type.startswith("call.") or (entry.type.startswith("run.") and "label" in entry.body):
            self._raise(entry, call, parse_label(entry.body.get("label")))

    def chronicle(self) -> Chronicle:
        return Chronicle(
            self._run,
            self._start or BOTTOM,
            self._registered,
            self._calls,
            tuple(self._rises),
            tuple(self._acts),
            self._records,
            self._foreign,
            self._parent,
        )

    def _raise(self, entry: Entry, call: str, label: Label) -> None:
        if self._start is None:
            # What comes before the first label is the floor, which the opening record holds.
            is_opening = entry.type == "run.open"
            self._start = self._label = label if is_opening else BOTTOM
        joined = self._label.join(label)
        if joined != self._label:
            self._rises.append(Rise(entry.seq, entry.type, call, self._label, joined))
            self._label = joined

    def _with(self, entry: Entry, id_: str) -> Call:
        body = entry.body
        call = self._calls.get(id_) or Call(id_, len(self._calls) + 1, ts=_text(body, "ts"))
        tool = _table(body, "tool")
        call = replace(
            call,
            seqs=(*call.seqs, entry.seq) if len(call.seqs) < MAX_SEQS else call.seqs,
            caller=(_text(body, "agent"), _text(body, "user"), _text(body, "tenant")),
            tool=_text(tool, "id") or call.tool,
            effect=_text(tool, "effect") or call.effect,
            trace=_text(body, "trace") or call.trace,
        )
        if entry.type in (ASKED, INTENT, DENIED) and "tool" in body:
            call = _with_decision(call, entry)
        match entry.type:
            case "call.asked":
                expires = _number(_table(body, "ask"), "expires_ms")
                return replace(
                    call,
                    questions=call.questions + 1,
                    consent=Consent(expires_ms=expires),
                    ending=Ending.ASKED,
                )
            case "call.intent":
                return replace(
                    call,
                    attempts=call.attempts + 1,
                    consent=_consent(body) or call.consent,
                    ending=Ending.OPEN,
                )
            case "call.denied":
                return replace(
                    call,
                    refused_by=_texts(body, "rules"),
                    code=_text(body, "code"),
                    subject=_text(body, "subject"),
                    consent=_consent(body) or call.consent,
                    ending=Ending.DENIED,
                )
            case "call.outcome":
                return _with_outcome(call, body)
            case _:
                return call


def _with_decision(call: Call, entry: Entry) -> Call:
    body = entry.body
    return replace(
        call,
        deciding_seq=entry.seq,
        decision=_decision(_table(body, "decision")),
        origins=tuple(_origin(item) for item in _list(body, "origins") if isinstance(item, dict)),
        seen=parse_label(body["label_before"]) if "label_before" in body else None,
        sink=parse_label(body["clearance"]) if "clearance" in body else None,
    )


def _with_outcome(call: Call, body: Mapping[str, object]) -> Call:
    status, failure = _text(body, "status"), _table(body, "failure")
    return replace(
        call,
        ending=Ending(status) if status in _STATUSES else Ending.IN_DOUBT,
        failure=_text(failure, "kind"),
        sent=failure.get("sent") is not False,
        # Only what a record says was delivered is told as delivered.
        withheld=body.get("withheld") is not False,
        hidden_bytes=_number(_table(body, "hidden"), "bytes"),
        messages=tuple(_message(item) for item in _list(body, "messages") if isinstance(item, dict)),
    )


def _message(body: Mapping[str, object]) -> Message:
    return Message(
        _text(body, "id"),
        _text(body, "direction") == "sent",
        _text(body, "kind"),
        _text(body, "peer_agent"),
        _text(body, "peer_run"),
        parse_label(body["label"]) if "label" in body else None,
    )


_STATUSES: Final = frozenset({Ending.OK, Ending.TOOL_ERROR, Ending.FAILED, Ending.CANCELLED, Ending.IN_DOUBT})


def _decision(body: Mapping[str, object]) -> Decision | None:
    if not body:
        return None
    obligations = tuple(
        (_text(item, "rule"), _text(item, "type"), _text(item, "pointer"))
        for item in _list(body, "obligations")
        if isinstance(item, dict)
    )
    return Decision(
        _text(body, "outcome"),
        _texts(body, "rules"),
        obligations,
        _number(body, "revision"),
        _text(body, "digest"),
    )


def _origin(body: Mapping[str, object]) -> Origin:
    sources = tuple(
        Source(_text(item, "kind"), _text(item, "call"), _text(item, "tool"), _text(item, "pointer"))
        for item in _list(body, "sources")
        if isinstance(item, dict)
    )
    return Origin(
        _text(body, "arg"), _text(body, "role"), _text(body, "integrity"), body.get("handle") is True, sources
    )


def _consent(body: Mapping[str, object]) -> Consent | None:
    found = _table(body, "approval")
    if not found:
        return None
    return Consent(_text(found, "id"), _text(found, "by"), _text(found, "why"), _number(found, "expires_ms"))


_NOT_SHOWN: Final = frozenset(
    {"v", "log", "prev", "kid", "boot", "ts", "type", "run", "agent", "user", "tenant", "binding", "digest"}
)


def _act(entry: Entry) -> Act:
    members = {
        member: value
        for member, value in entry.body.items()
        if isinstance(value, str) and member not in _NOT_SHOWN
    }
    return Act(entry.seq, _text(entry.body, "ts"), entry.type, _text(entry.body, "call"), members)


def _text(body: Mapping[str, object], member: str) -> str:
    value = body.get(member)
    return value if isinstance(value, str) else ""


def _number(body: Mapping[str, object], member: str) -> int:
    value = body.get(member)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _table(body: Mapping[str, object], member: str) -> Mapping[str, object]:
    value = body.get(member)
    return value if isinstance(value, dict) else {}


def _list(body: Mapping[str, object], member: str) -> list[object]:
    value = body.get(member)
    return value if isinstance(value, list) else []


def _texts(body: Mapping[str, object], member: str) -> tuple[str, ...]:
    return tuple(item for item in _list(body, member) if isinstance(item, str))
