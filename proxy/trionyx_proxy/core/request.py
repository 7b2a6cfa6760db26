"""The nouns of a call: the tool as the catalog knows it, the request, its result, its refusal.

Nothing here parses or validates: values arrive strict-parsed and schema-checked (`trionyx_proxy.arguments`,
`trionyx_proxy.schema`) and are hashable, so that a test can enumerate every state that holds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from trionyx_proxy.core.label import Label

CallId = NewType("CallId", str)
"""A call's identity, minted by the edge (never taken from the client); unique within a run."""


@dataclass(frozen=True, slots=True)
class Tool:
    """What the catalog says about one tool, as pinned when the proxy started.

    Args:
        id: name the agent sees, `server__tool`.
        server: upstream alias from the configuration.
        catalog: catalog section that classifies the server's tools.
        name: the upstream's own name for the tool.
        effect: one of read, fetch, local, egress, money, book, authz, destroy.
        output: declared label of whatever the tool returns; joined into the run when a call is released.
        descriptor_sha256: hex digest of the tool's canonical descriptor as pinned.
    """

    id: str
    server: str
    catalog: str
    name: str
    effect: str
    output: Label
    descriptor_sha256: str


@dataclass(frozen=True, slots=True)
class Request:
    """One well-formed call of a known tool.

    Args:
        call: the call's identity.
        tool: the pinned tool.
        arguments: RFC 8785 form of the decided arguments; these bytes are hashed, decided and sent.
        facts: RFC 8785 form of what the edge computed from the arguments for the policy (paths, URLs,
            recipients, text flags); an object.
        clearance: the most restrictive run label that may flow into this call's sink.
        at_ms: wall clock when the call arrived, Unix milliseconds; only a fact for policy and record.
        trace: the client's correlation id (the model API's tool-use id), at most 128 characters, or "".
    """

    call: CallId
    tool: Tool
    arguments: bytes
    facts: bytes
    clearance: Label
    at_ms: int
    trace: str = ""


class RejectionCode(StrEnum):
    """Why a message never became a request."""

    MALFORMED = "malformed"
    UNKNOWN_TOOL = "unknown_tool"
    UNKNOWN_METHOD = "unknown_method"
    SCHEMA = "schema"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that is denied without asking the policy, because it has no single meaning here.

    Args:
        call: identity minted for the record.
        code: why.
        subject: what the message named (tool or method), cleaned to printable ASCII, at most 128 characters.
        detail: host-authored explanation without any received value; lower-case, one line.
        raw_sha256: hex digest of the received bytes.
        raw_bytes: their number.
    """

    call: CallId
    code: RejectionCode
    subject: str
    detail: str
    raw_sha256: str
    raw_bytes: int
    at_ms: int


class ResultStatus(StrEnum):
    """How an upstream answered."""

    OK = "ok"
    TOOL_ERROR = "tool_error"


@dataclass(frozen=True, slots=True)
class Result:
    """An upstream's answer, cleaned and in canonical form, ready to be delivered byte for byte.

    Args:
        status: whether the tool itself reported an error.
        body: RFC 8785 form of the MCP `CallToolResult` that the agent would receive.
        label: what the result adds to the run's label beyond the tool's declared output; None where nobody read
            its fields: then nothing for a success, and untrusted text for an error.
        hidden: RFC 8785 form of what the agent gets handles for instead, by handle, or b"".
        messages: RFC 8785 form of the list of messages that the call sent or received, for the record, or b"".
    """

    status: ResultStatus
    body: bytes
    label: Label | None = None
    hidden: bytes = b""
    messages: bytes = b""


class FailureKind(StrEnum):
    """Why no usable answer came from the upstream."""

    TIMEOUT = "timeout"
    CRASHED = "crashed"
    GARBAGE = "garbage"
    TOO_LARGE = "too_large"
    PROTOCOL_ERROR = "protocol_error"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"
    SHUTDOWN = "shutdown"


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that was forwarded (or about to be) and brought no usable result.

    Args:
        detail: host-authored text, safe for the agent; never an upstream's words.
        sent: whether the request bytes may have reached the upstream (its effect is then in doubt).
    """

    kind: FailureKind
    detail: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """One rule's contribution to a refusal, in the rule author's static words.

    Args:
        id: rule id, `FLOW-002` or one of the host's `TRX-…`.
        title: what the rule says.
        remedy: what would be allowed instead; may be empty.
    """

    id: str
    title: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the agent is told when a call is not carried out; holds no argument and no result value.

    Args:
        approval: id of the question that a person may still answer, or "".
    """

    reasons: tuple[Reason, ...]
    approval: str = ""
