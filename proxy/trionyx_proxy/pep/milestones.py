"""Records of a run that are no call: its opening, its policy, its tools, its end, and calls left in doubt.

Bodies only, as canonical bytes; the log adds its own members. See `proxy/DESIGN.md`, Records:

    run.open       agent floor label parent? policy prompt run software user tenant? registered
    run.resume     agent label policy run user dangling
    policy.load    digest revision engine reason
    policy.refused reason
    tools.offered  server offered withheld
    run.close      run calls denied label reason
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

import orjson

from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, Usage
from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import CallId, Refusal
from trionyx_proxy.pep.admission import Pin, Withheld, printable
from trionyx_proxy.token import Lineage

TOOLS_PER_RECORD = 100
"""So that the longest names and reasons fit a record line (`trionyx_audit.record`)."""


def _encode(body: Mapping[str, Any]) -> bytes:
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def _label(label: Label) -> orjson.Fragment:
    return orjson.Fragment(label.encode())


def _who(identity: Identity) -> dict[str, Any]:
    who = {"agent": identity.agent, "run": identity.run, "user": identity.user}
    return who | {"tenant": identity.tenant} if identity.tenant else who


def _policy(policy: PolicyVersion, engine: str) -> dict[str, Any]:
    return {"digest": policy.digest, "engine": engine, "revision": policy.revision}


def run_open(
    identity: Identity,
    prompt: Prompt,
    *,
    floor: Label,
    label: Label,
    policy: PolicyVersion,
    engine: str,
    parent: Lineage | None = None,
) -> bytes:
    """Build the body of `run.open`: the first record of a run's own. A child run's names its parent."""
    lineage = (
        {}
        if parent is None
        else {
            "parent": {"agent": parent.agent, "depth": parent.depth, "run": parent.run}
            | ({"above": list(parent.above)} if parent.above else {})
        }
    )
    return _encode(
        _who(identity)
        | lineage
        | {
            "floor": _label(floor),
            "label": _label(label),
            "policy": _policy(policy, engine),
            "prompt": {"registered": prompt.registered, "sha256": prompt.sha256},
            "registered": identity.registered,
            "software": f"trionyx-proxy {version('trionyx-proxy')}",
        }
    )


def run_resume(
    identity: Identity, *, label: Label, policy: PolicyVersion, engine: str, dangling: Iterable[CallId]
) -> bytes:
    """Build the body of `run.resume`: another process goes on with the run at this label."""
    return _encode(
        _who(identity)
        | {"dangling": list(dangling), "label": _label(label), "policy": _policy(policy, engine)}
    )


def in_doubt(identity: Identity, call: CallId, label: Label) -> bytes:
    """Build the `call.outcome` of a call whose intent is recorded and whose end no process saw."""
    return _encode(
        _who(identity) | {"call": call, "label": _label(label), "status": "in_doubt", "withheld": True}
    )


def denied_by_defect(identity: Identity, call: CallId, refusal: Refusal, label: Label) -> bytes:
    """Build the `call.denied` of a call that was open, or came, when a defect had ended the run.

    Holds no tool and no arguments: what the core had made of the call is not to be trusted any more.
    """
    rules = [reason.id for reason in refusal.reasons]
    return _encode(_who(identity) | {"call": call, "label": _label(label), "rules": rules})


def policy_load(policy: PolicyVersion, engine: str, reason: str) -> bytes:
    """Build the body of `policy.load`: from the next decision on this policy is in force."""
    return _encode(_policy(policy, engine) | {"reason": reason})


def policy_refused(reason: str) -> bytes:
    """Build the body of `policy.refused`: a reload failed, and the policy in force stays."""
    return _encode({"reason": reason})


def tools_offered(server: str, pins: Iterable[Pin], withheld: Iterable[Withheld]) -> list[bytes]:
    """Build the bodies of `tools.offered`: what of an upstream's list is callable, what is not, and why.

    A long list takes several records; a name of a withheld tool is cut to 64 printable characters.
    """
    offered = [
        {"descriptor_sha256": pin.tool.descriptor_sha256, "id": pin.tool.id}
        for pin in sorted(pins, key=lambda pin: pin.tool.id)
    ]
    refused = [{"name": printable(tool.name)[:64], "reason": tool.reason[:128]} for tool in withheld]
    parts = max(1, -(-len(offered) // TOOLS_PER_RECORD), -(-len(refused) // TOOLS_PER_RECORD))
    return [
        _encode(
            {
                "offered": offered[start : start + TOOLS_PER_RECORD],
                "server": server,
                "withheld": refused[start : start + TOOLS_PER_RECORD],
            }
        )
        for start in range(0, parts * TOOLS_PER_RECORD, TOOLS_PER_RECORD)
    ]


def run_close(identity: Identity, usage: Usage, label: Label, reason: str) -> bytes:
    """Build the body of `run.close`: this process serves the run no longer."""
    return _encode(
        _who(identity)
        | {"calls": usage.calls, "denied": usage.denied, "label": _label(label), "reason": reason}
    )
