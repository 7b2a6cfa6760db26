"""The policy input of one call, `trionyx.input/v1`: canonical bytes from the run and the request.

Adds no fact of its own but digests, sizes and the clock fields that follow from the call's arrival time.
Arguments and facts arrive in RFC 8785 form and are embedded as they are; a string of more than 4096 bytes is
replaced by `{"bytes":n,"sha256":hex}`, so that the size of the input does not follow the size of a body.

    {"approvals":[],"args":{"id":"m1"},"args_meta":{"bytes":11,"sha256":"…"},"facts":{…},"label":{…},
     "point":"tool.call","prompt":{…},"run":{…},"schema":"trionyx.input/v1",
     "time":{"hour":1,"ms":1763690000000,"weekday":5},"tool":{…}}
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from trionyx_proxy.core.account import Identity, Prompt, Usage
from trionyx_proxy.core.call import OpenCall, State
from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import Request

SCHEMA: Final = "trionyx.input/v1"

MAX_STRING_BYTES: Final = 4096
"""Longest argument string that a policy sees, UTF-8 bytes; longer ones are shown as digest and size."""

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS

_UNDECIDED: Final = frozenset({State.DECIDING, State.TRANSFORMING})

# A string token of JSON text. The quantifiers are possessive: one pass, no backtracking, no stack.
_STRING_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"')


@dataclass(frozen=True, slots=True)
class History:
    """What the run did before this call, counting calls that arrived earlier and are still being decided.

    So counted, two calls that are decided at once cannot both take the last place of a budget.
    """

    calls: int
    denied: int
    in_flight: int
    by_effect: dict[str, int]
    same_call: int


def history(usage: Usage, open_: Sequence[OpenCall], call: OpenCall) -> History:
    """Count what came before a call.

    Args:
        usage: the run's counters.
        open_: the run's open calls in order of arrival, this call among them unless it has just begun.
        call: the call, about to be decided.
    """
    index = next((index for index, other in enumerate(open_) if other.id == call.id), len(open_))
    pending = [other for other in open_[:index] if other.state in _UNDECIDED and not other.intents]
    by_effect = dict(usage.by_effect)
    for effect in (other.request.tool.effect for other in pending):
        by_effect[effect] = by_effect.get(effect, 0) + 1
    # A call that is decided again after its intent is in the counters itself.
    own = 1 if call.intents else 0
    if own:
        by_effect[call.counted] -= own
    repeats = usage.repeats.of(call.fingerprint) - own
    return History(
        calls=usage.calls - own + len(pending),
        denied=usage.denied,
        in_flight=sum(other.id != call.id for other in open_),
        by_effect={effect: count for effect, count in by_effect.items() if count},
        same_call=max(repeats, 0) + sum(other.fingerprint == call.fingerprint for other in pending),
    )


def policy_input(
    identity: Identity, prompt: Prompt, label: Label, before: History, request: Request
) -> bytes:
    """Build the document that the policy decides on.

    Args:
        identity: the run.
        prompt: facts of the registered prompt.
        label: the run's label as this call sees it.
        before: what the run did before.
        request: the call.

    Source: RFC 8785 for the form; the shape is the closed schema `trionyx.input/v1`.
    """
    tool = request.tool
    document = {
        "approvals": [],
        "args": orjson.Fragment(project(request.arguments)),
        "args_meta": {
            "bytes": len(request.arguments),
            "sha256": hashlib.sha256(request.arguments).hexdigest(),
        },
        "facts": orjson.Fragment(request.facts),
        "label": orjson.Fragment(label.encode()),
        "point": "tool.call",
        "prompt": {
            "emails": prompt.emails,
            "hosts": prompt.hosts,
            "implies": prompt.implies,
            "paths": prompt.paths,
            "registered": prompt.registered,
            "sha256": prompt.sha256,
        },
        "run": {
            "agent": identity.agent,
            "by_effect": before.by_effect,
            "calls": before.calls,
            "denied": before.denied,
            "id": identity.run,
            "in_flight": before.in_flight,
            "registered": identity.registered,
            "same_call": before.same_call,
            "tenant": identity.tenant,
            "user": identity.user,
        },
        "schema": SCHEMA,
        "time": _clock(request.at_ms),
        "tool": {
            "catalog": tool.catalog,
            "descriptor_sha256": tool.descriptor_sha256,
            "effect": tool.effect,
            "id": tool.id,
            "name": tool.name,
            "server": tool.server,
        },
    }
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def project(arguments: bytes) -> bytes:
    """Replace each string value of more than MAX_STRING_BYTES by its digest and size.

    Works on the canonical text, so that every other byte of it stays as it is. Member names stay, too.

    Args:
        arguments: RFC 8785 form.
    """
    if len(arguments) <= MAX_STRING_BYTES:
        return arguments
    parts: list[bytes] = []
    copied = 0
    for match in _STRING_TOKEN.finditer(arguments):
        start, end = match.span()
        if end - start <= MAX_STRING_BYTES or arguments[end : end + 1] == b":":
            continue
        text = str(orjson.loads(match[0])).encode()
        if len(text) > MAX_STRING_BYTES:
            digest = hashlib.sha256(text).hexdigest().encode()
            parts += (arguments[copied:start], b'{"bytes":%d,"sha256":"%s"}' % (len(text), digest))
            copied = end
    parts.append(arguments[copied:])
    return b"".join(parts)


def _clock(at_ms: int) -> dict[str, int]:
    """Give UTC hour 0–23 and ISO weekday 1 (Monday) – 7; 1970-01-01 was a Thursday."""
    return {"hour": at_ms // _HOUR_MS % 24, "ms": at_ms, "weekday": (at_ms // _DAY_MS + 3) % 7 + 1}
