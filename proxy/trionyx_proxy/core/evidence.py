"""The records of a call, and the run's state rebuilt from them.

Each record names what an auditor asks first (who, which tool, which rules, which labels) in the clear.
Arguments, results and policy inputs go beside it as payloads, to which the log commits with a salt: a plain
digest of short arguments could be undone by trying. For the same reason `fingerprint` is keyed per run.

`call.asked` comes before a person is asked, and ends nothing. `call.intent` comes again (`attempt` 2, 3) when
the call had to be decided again after it. A call with an intent ends in one `call.outcome` or one
`call.denied`, any other call in one `call.denied`.
Nothing here signs, numbers or stores; the log adds those members.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from trionyx_proxy.core.account import Identity, RunState, Usage
from trionyx_proxy.core.approval import Ask
from trionyx_proxy.core.call import OpenCall
from trionyx_proxy.core.effect import StoreRecord
from trionyx_proxy.core.label import BOTTOM, Label, parse_label
from trionyx_proxy.core.request import CallId, Reason, Rejection, Request, ResultStatus

ASKED: Final = "call.asked"
INTENT: Final = "call.intent"
OUTCOME: Final = "call.outcome"
DENIED: Final = "call.denied"

MAX_ORIGINS: Final = 32
"""Arguments whose origin a record names in the clear, so that it fits its line; the payload `input` has all."""

Value = str | int | bool | orjson.Fragment | list["Value"] | dict[str, "Value"]
"""A record member: no float, no null, member names of `[a-z0-9_]`; labels come encoded."""

Body = dict[str, Value]


def intent_record(identity: Identity, call: OpenCall, *, output: Label, label: Label) -> StoreRecord:
    """Build the record that must be durable before the call is forwarded.

    Args:
        identity: the run.
        call: decided, and permitted.
        output: what the call adds to the run's label: the declared output and the policy's labels.
        label: the run's label with it.
    """
    body = _request_body(identity, call, call.request, label)
    body["attempt"] = call.intents
    body["output"] = _label(output)
    if call.approval is not None:
        body["approval"] = {
            "binding": call.approval.binding,
            "by": call.approval.by,
            "expires_ms": call.approval.expires_ms,
            "id": call.approval.id,
        }
    return _record(call, INTENT, body, _request_payloads(call, call.request), label)


def asked_record(identity: Identity, call: OpenCall, ask: Ask, label: Label) -> StoreRecord:
    """Build the record that must be durable before a person is asked.

    Args:
        identity: the run.
        call: decided, and up to a person.
        ask: what is asked.
        label: the run's label.
    """
    body = _request_body(identity, call, call.request, label)
    body["ask"] = {"binding": ask.binding, "expires_ms": ask.expires_ms}
    return _record(call, ASKED, body, _request_payloads(call, call.request), label)


def denied_record(
    identity: Identity, call: OpenCall, reasons: tuple[Reason, ...], label: Label
) -> StoreRecord:
    """Build the record of a call or message that is refused.

    Args:
        identity: the run.
        call: the call, or the rejected message.
        reasons: determining and erroring rules, also those of the host.
        label: the run's label.
    """
    match call.subject:
        case Rejection() as rejection:
            body = _body(identity, call, label)
            body |= {"at_ms": rejection.at_ms, "code": rejection.code.value, "subject": rejection.subject}
            payloads = {
                "raw": b'{"bytes":%d,"sha256":"%s"}' % (rejection.raw_bytes, rejection.raw_sha256.encode())
            }
        case _:
            body = _request_body(identity, call, call.request, label)
            payloads = _request_payloads(call, call.request)
    body["rules"] = [reason.id for reason in reasons]
    if call.unapproved is not None:
        body["approval"] = {"id": call.question, "why": call.unapproved.value}
    if call.engine_code:
        body["code"] = call.engine_code
    return _record(call, DENIED, body, payloads, label)


def outcome_record(identity: Identity, call: OpenCall, *, withheld: bool, label: Label) -> StoreRecord:
    """Build the record that must be durable before the result is delivered.

    Status is `ok`, `tool_error`, `failed` (no usable result) or `cancelled` (withdrawn and never forwarded).

    Args:
        identity: the run.
        call: with its result, its failure, or neither if it was withdrawn before it was forwarded.
        withheld: the agent will get a refusal instead of the result.
        label: the run's label with everything the result adds.
    """
    body = _body(identity, call, label)
    body |= {"tool": {"id": call.request.tool.id}, "withheld": withheld}
    payloads: dict[str, bytes] = {}
    if call.result is not None:
        body["status"] = call.result.status.value
        payloads["result"] = call.result.body
        if call.result.hidden:
            payloads["hidden"] = call.result.hidden
        if call.result.messages:
            body["messages"] = orjson.Fragment(call.result.messages)
    elif call.failure is not None:
        body["status"] = "failed"
        body["failure"] = {"kind": call.failure.kind.value, "sent": call.failure.sent}
    else:
        body["status"] = "cancelled"
    return _record(call, OUTCOME, body, payloads, label)


def failed(call: OpenCall) -> bool:
    """Tell whether the call brought an error instead of a result: error text is nobody's, so public."""
    if call.result is not None:
        return call.result.status is ResultStatus.TOOL_ERROR
    return call.failure is not None


def resume(records: Iterable[tuple[str, Mapping[str, object]]], floor: Label = BOTTOM) -> RunState:
    """Rebuild what a run has seen and used from its records, in the order of the log.

    Never raises: a call record whose members cannot be read makes the label TOP. Records of other types are
    passed over. Does not verify anything; that is the log's work.

    Args:
        records: record type and body of each.
        floor: the label the run starts with.
    """
    label, usage = floor, Usage()
    spent: set[str] = set()
    dangling: dict[CallId, None] = {}
    for type_, body in records:
        if not type_.startswith("call."):
            continue
        label = label.join(parse_label(body.get("label")))
        call, fingerprint = CallId(str(body.get("call", ""))), str(body.get("fingerprint", ""))
        if type_ == ASKED:
            continue
        if type_ == INTENT:
            spent.update(_approval(body))
            if call not in dangling:
                usage = usage.with_intent(fingerprint, _effect(body))
            dangling[call] = None
            continue
        if type_ == DENIED:
            usage = usage.with_denial(fingerprint, intended=call in dangling)
        dangling.pop(call, None)
    return RunState(label, usage, tuple(dangling), frozenset(spent))


def _body(identity: Identity, call: OpenCall, label: Label) -> Body:
    body: Body = {
        "agent": identity.agent,
        "call": call.id,
        "label": _label(label),
        "label_before": _label(call.seen),
        "run": identity.run,
        "user": identity.user,
    }
    if identity.tenant:
        body["tenant"] = identity.tenant
    return body


def _request_body(identity: Identity, call: OpenCall, request: Request, label: Label) -> Body:
    tool = request.tool
    body = _body(identity, call, label)
    body |= {
        "at_ms": request.at_ms,
        "clearance": _label(request.clearance),
        "fingerprint": call.fingerprint,
        "tool": {
            "catalog": tool.catalog,
            "descriptor_sha256": tool.descriptor_sha256,
            "effect": tool.effect,
            "id": tool.id,
            "name": tool.name,
            "server": tool.server,
        },
    }
    origins = _origins(request.facts)
    if origins:
        body["origins"] = origins
    if request.trace:
        body["trace"] = request.trace
    decision = call.decision
    if decision is not None:
        body["decision"] = {
            "digest": decision.digest,
            "obligations": [
                {"pointer": obligation.pointer, "rule": obligation.rule, "type": obligation.type}
                for obligation in decision.obligations
            ],
            "outcome": decision.outcome.value,
            "revision": decision.revision,
            "rules": [rule.id for rule in decision.rules],
        }
    return body


def _origins(facts: bytes) -> list[Value]:
    """Give where each argument came from, in the clear: places and calls, never a value."""
    origins: list[dict[str, Value]] = orjson.loads(facts).get("origins", [])
    kept = ("arg", "handle", "integrity", "role", "sources")
    return [{name: origin[name] for name in kept} for origin in origins[:MAX_ORIGINS]]


def _request_payloads(call: OpenCall, request: Request) -> dict[str, bytes]:
    payloads = {"args": request.arguments, "input": call.document}
    if call.original:
        payloads["original_args"] = call.original
    return payloads


def _record(
    call: OpenCall, type_: str, body: Body, payloads: Mapping[str, bytes], label: Label
) -> StoreRecord:
    # Canonical in the sense of RFC 8785: ASCII member names sort alike everywhere, and there are no floats.
    return StoreRecord(call.id, type_, orjson.dumps(body, option=orjson.OPT_SORT_KEYS), payloads, label)


def _label(label: Label) -> Value:
    return orjson.Fragment(label.encode())


def _approval(body: Mapping[str, object]) -> tuple[str, ...]:
    approval = body.get("approval")
    return (str(approval.get("id", "")),) if isinstance(approval, dict) else ()


def _effect(body: Mapping[str, object]) -> str:
    tool = body.get("tool")
    return str(tool.get("effect", "")) if isinstance(tool, dict) else ""
