"""What may reach the agent: cleaned upstream results, refusals in plain words, offered tool descriptors.

Everything an upstream says passes through `clean_result`; nothing else of it is delivered. What `sealed_result` makes
of the cleaned (and labelled, see `pep.ledger`) value is canonical, and those bytes are what is recorded and sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trionyx_audit.canonical import canonicalize
from trionyx_proxy.arguments import canonical
from trionyx_proxy.core.request import Failure, FailureKind, Refusal, Result, ResultStatus
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.pep.remedies import remedies

BLOCK_MEMBERS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "text": (frozenset({"type", "text"}), frozenset()),
    "image": (frozenset({"type", "data", "mimeType"}), frozenset()),
    "audio": (frozenset({"type", "data", "mimeType"}), frozenset()),
    "resource_link": (
        frozenset({"type", "uri", "name"}),
        frozenset({"title", "description", "mimeType", "size"}),
    ),
    "resource": (frozenset({"type", "resource"}), frozenset()),
}
"""Content blocks that are delivered: required and optional members; other members are left out."""

RESOURCE_MEMBERS = frozenset({"uri", "mimeType", "text", "blob"})

DESCRIPTOR_MEMBERS = ("name", "title", "description", "inputSchema")
"""Members of a tool descriptor that are offered. Annotations are an upstream's claims about itself and are not."""


def clean_result(received: Mapping[str, Any]) -> dict[str, Any] | Failure:
    """Reduce an upstream's `CallToolResult` to what may be delivered, or say why none of it is.

    Args:
        received: the `result` member, strict-parsed.

    Source: MCP 2026-07-28, server/tools, `CallToolResult`.

    """
    garbage = Failure(FailureKind.GARBAGE, "the tool's answer is not a tool result", sent=True)
    if received.get("resultType", "complete") != "complete":
        return Failure(
            FailureKind.GARBAGE, "the tool asked for further input, which is not admitted", sent=True
        )
    content = received.get("content")
    is_error = received.get("isError", False)
    if not isinstance(content, list) or not isinstance(is_error, bool):
        return garbage
    blocks: list[dict[str, Any]] = []
    for block in content:
        cleaned = _clean_block(block)
        if cleaned is None:
            return Failure(
                FailureKind.GARBAGE, "the tool's answer holds content of an unknown type", sent=True
            )
        blocks.append(cleaned)
    result: dict[str, Any] = {"content": blocks, "isError": is_error, "resultType": "complete"}
    if "structuredContent" in received:
        if not isinstance(received["structuredContent"], dict):
            return garbage
        result["structuredContent"] = received["structuredContent"]
    return result


def sealed_result(result: Mapping[str, Any], *, call: str, max_bytes: int) -> Result | Failure:
    """Give the bytes of a cleaned result that are recorded and delivered, or say why there are none.

    Args:
        result: what `clean_result` gave, or a reading of it.
        call: the call's id, put into `_meta` so that a transcript can be matched with the log.
        max_bytes: limit on the canonical result.
    """
    try:
        body = canonical({"_meta": {"trionyx/call": call}, **result})
    except ArgumentError:
        return Failure(FailureKind.GARBAGE, "the tool's answer is not a tool result", sent=True)
    if len(body) > max_bytes:
        return Failure(
            FailureKind.TOO_LARGE,
            f"the tool's answer is larger than the limit of {max_bytes} bytes",
            sent=True,
        )
    return Result(ResultStatus.TOOL_ERROR if result["isError"] else ResultStatus.OK, body)


def _clean_block(block: object) -> dict[str, Any] | None:
    if not isinstance(block, dict):
        return None
    kind = block.get("type")
    shape = BLOCK_MEMBERS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        return None
    required, optional = shape
    if not required <= block.keys():
        return None
    kept = {name: value for name, value in block.items() if name in required | optional}
    if "resource" in kept:
        resource = kept["resource"]
        if not isinstance(resource, dict) or "uri" not in resource:
            return None
        kept["resource"] = {name: value for name, value in resource.items() if name in RESOURCE_MEMBERS}
    flat = (value for name, value in kept.items() if name not in ("resource", "size"))
    return kept if all(isinstance(value, str) for value in flat) else None


def refusal_body(refusal: Refusal, *, call: str) -> bytes:
    """Return the canonical `CallToolResult` that tells the agent which rule, why, and what would be allowed.

    The texts are static: rule authors' titles and remedies and this package's own words. No argument and no result
    value is repeated, so a refusal can be shown whatever the run has seen.
    """
    lines = ["The call was not carried out."]
    for reason in refusal.reasons:
        lines.append(f"[{reason.id}] {reason.title}")
        if reason.remedy:
            lines.append(f"  Allowed instead: {reason.remedy}")
    if refusal.approval:
        lines.append(f"(question {refusal.approval})")
    lines.append(f"(call {call})")
    return canonicalize(
        {
            "_meta": {
                "trionyx/call": call,
                "trionyx/refusal": [
                    {
                        "reason": reason.title,
                        "remedies": remedies(reason.id, refusal),
                        "remedy": reason.remedy,
                        "rule": reason.id,
                    }
                    for reason in refusal.reasons
                ],
            },
            "content": [{"text": "\n".join(lines), "type": "text"}],
            "isError": True,
            "resultType": "complete",
        }
    )


def offered_descriptor(descriptor: Mapping[str, Any], *, name: str) -> dict[str, Any]:
    """Return the part of an upstream's tool descriptor that the agent is shown, under its offered name."""
    offered = {member: descriptor[member] for member in DESCRIPTOR_MEMBERS if member in descriptor}
    return offered | {"name": name}
