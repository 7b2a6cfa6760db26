"""A verdict in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterator

from trionyx_audit.canonical import JSON
from trionyx_audit.cli.terminal import printable
from trionyx_audit.note import encode_base64
from trionyx_audit.verdict import Exit, Finding, Severity, Verdict

SCHEMA = "trionyx.verify/v1"
NOT_PROVEN = ("that unrecorded calls did not happen", "that tool results are true")

_WORDS = {Severity.VIOLATION: "VIOLATION", Severity.WARNING: "WARNING", Severity.NOTE: "NOTE"}


def verdict_lines(verdict: Verdict) -> Iterator[str]:
    """Yield the human report, one statement per line, each with its keyword first."""
    yield printable(verdict.origin) or "a log without a name"
    signatures = "every signature" if verdict.every_signature else "last signature"
    extent = f"{_number(verdict.size, 'record')}, {_number(verdict.segments, 'segment')}, {signatures}"
    first = verdict.violation
    if first is None:
        yield _line("INTEGRITY", f"verified   {_span(verdict.size)} ({extent})")
        yield _line("", f"root {encode_base64(verdict.root)}")
        yield _line("SEALED", _sealed(verdict))
    else:
        yield _line("INTEGRITY", f"VIOLATED   {_place(first)}{first.detail}")
        sound = verdict.size if first.seq is None else min(verdict.size, first.seq)
        yield _line("", f"before that: {_span(sound)}")
        if first.seq == 0:
            yield _line(
                "", "not even the first record holds: perhaps the key that was given is not this log's"
            )
    yield _line("ANCHORED", _anchored(verdict))
    if first is None:
        # An account that stops at the damage would look like one of the whole log.
        yield _line("COMPLETE", _complete(verdict))
        if verdict.payloads.committed:
            yield _line("PAYLOADS", _payloads(verdict))
    for finding in verdict.findings:
        if finding is not first and finding.id != "in_doubt":
            yield _line(_WORDS[finding.severity], f"{_place(finding)}{finding.detail}")
    yield _line("NOT PROVEN", "; ".join(NOT_PROVEN))


def verdict_object(verdict: Verdict, *, strict: bool) -> dict[str, JSON]:
    """Return the verdict as a JSON object."""
    code = verdict.exit(strict=strict)
    anchors: list[JSON] = [{"source": anchor.source, "size": anchor.size} for anchor in verdict.anchors]
    checks: list[JSON] = [_finding_object(finding) for finding in verdict.findings]
    calls = verdict.calls
    in_doubt: list[JSON] = list(calls.in_doubt)
    not_proven: list[JSON] = list(NOT_PROVEN)
    return {
        "origin": verdict.origin,
        "verdict": _VERDICTS[code],
        "exit": int(code),
        "mode": "full" if verdict.every_signature else "quick",
        "range": {"first": 0, "size": verdict.size, "segments": verdict.segments},
        "root": encode_base64(verdict.root),
        "keys": [verdict.vkey],
        "sealed": {"records": verdict.sealed, "unsealed_seconds": verdict.unsealed_s},
        "anchors": anchors,
        "exposure": {"records": verdict.exposed},
        "completeness": {
            "intents": calls.intents,
            "outcomes": calls.outcomes,
            "revoked": calls.revoked,
            "denied": calls.denied,
            "in_doubt": in_doubt,
            "in_doubt_count": calls.in_doubt_count,
            "orphans": calls.orphans,
        },
        "payloads": {
            "committed": verdict.payloads.committed,
            "present": verdict.payloads.present,
            "opened": verdict.payloads.opened,
        },
        "checks": checks,
        "not_proven": not_proven,
    }


_VERDICTS = {Exit.HOLDS: "verified", Exit.INCOMPLETE: "incomplete", Exit.VIOLATED: "violated"}


def _finding_object(finding: Finding) -> dict[str, JSON]:
    place: dict[str, JSON] = {}
    if finding.seq is not None:
        place["first_seq"] = finding.seq
    if finding.offset is not None:
        place |= {"segment": finding.segment, "byte_offset": finding.offset}
    return {
        "id": finding.id,
        "severity": finding.severity.value,
        "ok": finding.severity is Severity.NOTE,
        "detail": finding.detail,
        **place,
    }


def _sealed(verdict: Verdict) -> str:
    text = f"{verdict.sealed:,} of {_number(verdict.size, 'record')} by the log's own checkpoint"
    if verdict.sealed < verdict.size:
        text += f", the rest within {verdict.unsealed_s:.1f} s after it"
    return text


def _anchored(verdict: Verdict) -> str:
    """Say how far a memory outside the log's directory reaches; the largest one implies the smaller ones."""
    if not verdict.anchors:
        return (
            f"to nothing outside the log   EXPOSED {_number(verdict.size, 'record')}: "
            "a cut back to an older checkpoint would not show (use --remember or --against)"
        )
    best = verdict.anchors[-1]
    reach = f"record {best.size - 1:,}" if best.size else "the empty log"
    return f"to {reach} by {printable(best.source)}   EXPOSED {_number(verdict.exposed, 'record')}"


def _complete(verdict: Verdict) -> str:
    calls = verdict.calls
    text = f"{_number(calls.intents, 'intent')} = {_number(calls.outcomes, 'outcome')}"
    text += f" + {calls.revoked:,} revoked + {calls.in_doubt_count:,} in doubt"
    if calls.in_doubt:
        names = ", ".join(printable(call) or "without id" for call in calls.in_doubt)
        more = ", …" if calls.in_doubt_count > len(calls.in_doubt) else ""
        text += f" (call {names}{more})"
    return f"{text}   and {calls.denied:,} denied"


def _payloads(verdict: Verdict) -> str:
    payloads = verdict.payloads
    text = f"{payloads.present:,} of {payloads.committed:,} present"
    if payloads.opened:
        return f"{text}, {payloads.opened:,} opened and as committed"
    return f"{text}, none opened"


def _span(size: int) -> str:
    return f"records 0–{size - 1:,}" if size else "no records"


def _place(finding: Finding) -> str:
    if finding.seq is None:
        return ""
    place = f"record {finding.seq:,}"
    if finding.offset is not None:
        place += f" at byte {finding.offset:,}"
        place += f" of {printable(finding.segment)}" if finding.segment else ""
    return f"{place}: "


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _line(keyword: str, text: str) -> str:
    return f"{keyword:<11}{text}" if len(keyword) < 11 else f"{keyword} {text}"
