"""Questions and endorsements as JSON values, the same from the command line and over HTTP."""

from __future__ import annotations

import json
from typing import Any

from trionyx_proxy.approvals.display import render
from trionyx_proxy.approvals.rows import Endorsement, Entry


def summary(entry: Entry) -> dict[str, Any]:
    """Return a question without its values."""
    question = entry.question
    return {
        "agent": question.agent,
        "approval": entry.id,
        "asked_ms": entry.asked_ms,
        "by": entry.by,
        "call": question.call,
        "decided_ms": entry.decided_ms,
        "expires_ms": entry.expires_ms,
        "reason": entry.reason,
        "rules": [{"id": id_, "title": title} for id_, title in question.rules],
        "run": entry.run,
        "state": entry.standing.value,
        "tenant": question.tenant,
        "tool": question.tool,
        "user": question.user,
    }


def detail(entry: Entry) -> dict[str, Any]:
    """Return a question in full; `text` is what is safe to put before a person as it stands."""
    question = entry.question
    return summary(entry) | {
        "arguments": question.arguments,
        "text": render(question),
        "values": [
            {
                "integrity": matter.integrity,
                "kind": matter.kind,
                "pointer": matter.pointer,
                "role": matter.role,
                "sources": list(matter.sources),
                "trusted": not matter.is_untrusted,
                "value": matter.value,
            }
            for matter in question.matters
        ],
    }


def described(endorsement: Endorsement) -> dict[str, Any]:
    """Return an endorsement."""
    return {
        "approval": endorsement.approval,
        "by": endorsement.by,
        "endorsement": endorsement.id,
        "given_ms": endorsement.given_ms,
        "kind": endorsement.kind,
        "revoked_by": endorsement.revoked_by,
        "revoked_ms": endorsement.revoked_ms,
        "role": endorsement.role,
        "run": endorsement.run,
        "scope": endorsement.scope.value,
        "tenant": endorsement.tenant,
        "tool": endorsement.tool,
        "value": endorsement.value,
    }


def line(value: object) -> str:
    """Return one line of JSON in ASCII: nothing in it can move a terminal's cursor or turn its direction."""
    return json.dumps(value, ensure_ascii=True, sort_keys=True)
