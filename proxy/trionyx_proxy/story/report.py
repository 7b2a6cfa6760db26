"""The stable form of an explanation, `trionyx.explain/v1`, for programs.

Strings are as recorded, not escaped: JSON is not read by people. Only values of arguments are cut, since records
bound everything else (a line has at most 65,535 bytes).
"""

from __future__ import annotations

from typing import Final

from trionyx_proxy.story.explanation import Argument, Basis, Explanation, RuleText, parts_changed

SCHEMA: Final = "trionyx.explain/v1"

MAX_VALUE_CHARS: Final = 4_096
"""Characters of one value; `value_cut` says whether there were more."""


def to_json(told: Explanation) -> dict[str, object]:
    """Return all that an explanation says."""
    call, decision = told.call, told.decision
    agent, user, tenant = call.caller
    return {
        "schema": SCHEMA,
        "log": basis_json(told.basis),
        "run": {
            "id": told.run,
            "registered_prompt": told.registered,
            "parent": {"run": told.parent[0], "agent": told.parent[1]} if told.parent[0] else None,
        },
        "call": {
            "id": call.id,
            "number": call.number,
            "records": list(call.seqs),
            "at": call.ts,
            "agent": agent,
            "user": user,
            "tenant": tenant,
            "tool": call.tool,
            "effect": call.effect,
            "trace": call.trace,
            "ending": call.ending.value,
            "subject": call.subject,
        },
        "arguments": [_argument_json(argument) for argument in told.arguments],
        "arguments_left_out": told.arguments_left_out,
        "decision": None
        if decision is None
        else {
            "outcome": decision.outcome,
            "rules": [_rule_json(rule) for rule in told.decided_by],
            "obligations": [
                {"rule": rule, "type": type_, "pointer": pointer}
                for rule, type_, pointer in decision.obligations
            ],
            "revision": decision.revision,
            "digest": decision.digest,
            "attempts": call.attempts,
        },
        "refusal": None
        if call.ending != "denied"
        else {"rules": [_rule_json(rule) for rule in told.refused_by], "code": call.code},
        "approval": {
            "questions": call.questions,
            "id": call.consent.id,
            "by": call.consent.by,
            "why": call.consent.why,
            "expires_ms": call.consent.expires_ms,
        },
        "outcome": {
            "failure": call.failure,
            "may_have_taken_effect": call.ending == "in_doubt" or (call.ending == "failed" and call.sent),
            "withheld": call.withheld,
            "hidden_bytes": call.hidden_bytes,
            "messages": [
                {
                    "id": message.id,
                    "direction": "sent" if message.sent else "received",
                    "kind": message.kind,
                    "agent": message.agent,
                    "run": message.run,
                    "label": message.label.to_json() if message.label else None,
                }
                for message in call.messages
            ],
        },
        "label": {
            "start": told.start.to_json(),
            "before": told.before.to_json(),
            "after": told.after.to_json(),
            "sink": call.sink.to_json() if call.sink else None,
            "causes": [
                {
                    "part": cause.part,
                    "record": cause.seq,
                    "type": cause.type,
                    "call": cause.call,
                    "number": cause.number,
                    "tool": cause.tool,
                }
                for cause in told.causes
            ],
            "added": [
                {"record": rise.seq, "parts": list(parts_changed(rise.before, rise.after))}
                for rise in told.added
            ],
        },
        "acts": [
            {"record": act.seq, "at": act.ts, "type": act.type, "members": dict(sorted(act.members.items()))}
            for act in told.acts
        ],
    }


def basis_json(basis: Basis) -> dict[str, object]:
    """Return what is known of the log, in the stable form."""
    return {
        "origin": basis.origin,
        "trust": basis.trust.value,
        "notes": list(basis.notes),
        "records": basis.records,
    }


def _rule_json(rule: RuleText) -> dict[str, object]:
    return {"id": rule.id, "title": rule.title, "remedy": rule.remedy, "known": rule.known}


def _argument_json(argument: Argument) -> dict[str, object]:
    origin = argument.origin
    told: dict[str, object] = {
        "pointer": argument.pointer,
        "role": origin.role if origin else "",
        "integrity": origin.integrity if origin else "",
        "handle": origin.handle if origin else False,
        "recorded": origin is not None,
        "sources": [
            {
                "kind": reference.source.kind,
                "call": reference.source.call,
                "number": reference.number,
                "tool": reference.source.tool,
                "pointer": reference.source.pointer,
                "earlier": reference.is_earlier,
            }
            for reference in argument.references
        ],
    }
    if argument.value:
        value = argument.value[0]
        is_long = isinstance(value, str) and len(value) > MAX_VALUE_CHARS
        told |= {"value": value[:MAX_VALUE_CHARS] if isinstance(value, str) else value, "value_cut": is_long}
    return told
