"""From a received `tools/call` to a request the core can decide, or to a rejection; and the pins that this rests on.

A tool exists here when three things agree: an upstream lists it, the catalog classifies it, and its descriptor is
the one first seen in this run. Anything else cannot be called, and is not offered. Decides nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from trionyx_policies.decision import Obligation
from trionyx_proxy.arguments import ARGUMENTS, JSON, Limits, canonical, check, pointer
from trionyx_proxy.catalog import Catalog, ToolEntry
from trionyx_proxy.core.request import CallId, Rejection, RejectionCode, Request, Tool
from trionyx_proxy.errors import ArgumentError, UpstreamError
from trionyx_proxy.facts import compute
from trionyx_proxy.pep.asking import Vouches, vouched
from trionyx_proxy.pep.delivery import offered_descriptor
from trionyx_proxy.pep.ledger import NATIVE, Ledger
from trionyx_proxy.pep.placing import Resolved
from trionyx_proxy.schema import PinnedSchema, descriptor_digest

MAX_NAME_CHARS = 64
"""Offered names stay callable through gateways that allow 64 characters in a tool name."""

PeerOf = Callable[[str, JSON], Mapping[str, JSON]]
"""From the name of one of the proxy's own tools and its arguments to further facts, `peer` or none."""

NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@dataclass(frozen=True, slots=True)
class Pin:
    """One callable tool.

    Args:
        tool: what the core knows of it.
        entry: what the catalog says of its arguments and sinks.
        schema: its input schema, as pinned.
        offered: the descriptor the agent is shown.

    """

    tool: Tool
    entry: ToolEntry
    schema: PinnedSchema
    offered: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Withheld:
    """A listed tool that is not offered, and why; recorded, never shown to the agent."""

    server: str
    name: str
    reason: str


class Admission:
    """The pinned tools of a run, and the way a call of one of them becomes a request.

    INVARIANT: a descriptor once pinned in this run never changes; a tool that comes back different is withheld until
    it comes back the same.
    """

    def __init__(self, catalog: Catalog, ledger: Ledger, *, limits: Limits = ARGUMENTS) -> None:
        self._catalog = catalog
        self._ledger = ledger
        self._limits = limits
        self._pins: dict[str, Pin] = {}
        self._digests: dict[str, str] = {}
        self.vouches: Vouches | None = None
        """Looks up what people vouched for; None where nobody is asked."""
        self.peer_of: PeerOf | None = None
        """Tells whom a call of the proxy's own tools is for; None where the run talks to nobody."""
        self.rights: frozenset[str] | None = None
        """The upstreams' tools that a child run may have; None for any. Must be set before any `pin`."""

    @property
    def pins(self) -> Mapping[str, Pin]:
        """The callable tools, by offered name."""
        return self._pins

    def entry(self, tool_id: str) -> ToolEntry | None:
        """Return what the catalog in force says of a callable tool."""
        pin = self._pins.get(tool_id)
        return None if pin is None else pin.entry

    def remember(self, digests: Mapping[str, str]) -> None:
        """Pin what an earlier process of this run offered; must come before any `pin`.

        Args:
            digests: descriptor digest by offered name.
        """
        self._digests |= digests

    def pin(self, server: str, section: str, listed: list[dict[str, Any]]) -> tuple[Withheld, ...]:
        """Take an upstream's tool list; return what of it is withheld.

        Args:
            server: the upstream's alias.
            section: the catalog section that classifies its tools.
            listed: raw descriptors, strict-parsed.

        """
        withheld: list[Withheld] = []
        found: dict[str, Pin] = {}
        names = Counter(name for tool in listed if isinstance(name := tool.get("name"), str))
        for descriptor in listed:
            name = descriptor.get("name")
            if not isinstance(name, str) or not name or not set(name) <= NAME_CHARS:
                withheld.append(Withheld(server, "", "name"))
                continue
            outcome = "listed_twice" if names[name] > 1 else self._pin_one(server, section, name, descriptor)
            if isinstance(outcome, Pin):
                found[outcome.tool.id] = outcome
            else:
                withheld.append(Withheld(server, name, outcome))
        for tool_id in [tool_id for tool_id, pin in self._pins.items() if pin.tool.server == server]:
            del self._pins[tool_id]
        self._pins |= found
        return tuple(withheld)

    def _pin_one(self, server: str, section: str, name: str, descriptor: Mapping[str, Any]) -> Pin | str:
        tool_id = name if server == NATIVE else f"{server}__{name}"
        if len(tool_id) > MAX_NAME_CHARS:
            return "name_too_long"
        if server != NATIVE and self.rights is not None and tool_id not in self.rights:
            return "not_granted"
        entry = self._catalog.tool(section, name)
        if entry is None:
            return "not_in_catalog"
        try:
            digest = descriptor_digest(dict(descriptor))
            schema = PinnedSchema.pin(descriptor.get("inputSchema"))
        except (ArgumentError, UpstreamError) as error:
            return str(error)
        if self._digests.setdefault(tool_id, digest) != digest:
            return "descriptor_changed"
        tool = Tool(tool_id, server, section, name, entry.effect, entry.output, digest)
        return Pin(tool, entry, schema, offered_descriptor(descriptor, name=tool_id))

    def reload(self, catalog: Catalog) -> Mapping[str, str]:
        """Classify the pinned tools by another catalog; return those that it no longer admits, with the reason."""
        self._catalog = catalog
        dropped: dict[str, str] = {}
        for tool_id, pin in list(self._pins.items()):
            entry = catalog.tool(pin.tool.catalog, pin.tool.name)
            if entry is None:
                del self._pins[tool_id]
                dropped[tool_id] = "not_in_catalog"
            else:
                tool = replace(pin.tool, effect=entry.effect, output=entry.output)
                self._pins[tool_id] = replace(pin, tool=tool, entry=entry)
        return dropped

    def admit(self, params: Mapping[str, Any] | None, *, call: CallId, at_ms: int) -> Request | Rejection:
        """Read the parameters of a `tools/call`; every way they can be wrong is a rejection.

        Args:
            params: strict-parsed `params` of the request.
            call: identity minted for this call.
            at_ms: arrival, Unix milliseconds.

        """
        given = dict(params or {})
        name = given.get("name")
        received = orjson.dumps(given)
        subject = printable(name) if isinstance(name, str) else ""

        def reject(code: RejectionCode, detail: str) -> Rejection:
            return Rejection(
                call, code, subject, detail, hashlib.sha256(received).hexdigest(), len(received), at_ms
            )

        if not isinstance(name, str) or not given.keys() <= {"name", "arguments", "_meta"}:
            return reject(RejectionCode.MALFORMED, "the call has members other than a name and arguments")
        pin = self._pins.get(name)
        if pin is None:
            return reject(RejectionCode.UNKNOWN_TOOL, "no tool of this name is offered")
        arguments = given.get("arguments", {})
        if not isinstance(arguments, dict):
            return reject(RejectionCode.MALFORMED, "the arguments are not an object")
        try:
            return self._request(pin, arguments, call=call, at_ms=at_ms, trace=_trace(given.get("_meta")))
        except ArgumentError as error:
            code = RejectionCode.SCHEMA if error.code == "schema" else RejectionCode.MALFORMED
            # The error's text is host-authored. A schema error's pointer holds only names that the schema declares;
            # another's may hold what the sender chose.
            place = error.pointer if code is RejectionCode.SCHEMA else ""
            return reject(code, f"arguments{place}: {error}")

    def _request(
        self,
        pin: Pin,
        arguments: JSON,
        *,
        call: CallId,
        at_ms: int,
        trace: str,
        before: Request | None = None,
    ) -> Request:
        check(arguments, self._limits)
        # INVARIANT: handles are replaced before anything else looks at the arguments, so that what is decided,
        # recorded and sent is one value.
        # What is admitted again holds text where the handles were, and that text's own words name no handle.
        resolved = Resolved(arguments)
        if before is None:
            is_own = pin.tool.server == NATIVE
            resolved = self._ledger.resolve(arguments, pin.entry, in_content_only=is_own)
        if resolved.handled:
            check(resolved.arguments, self._limits)
            _check_unread(pin.schema, resolved)
        checked = pin.schema.apply(resolved.arguments)
        form = canonical(checked)
        if len(form) > self._limits.max_bytes:
            raise ArgumentError("too_large", "", "too many bytes")
        facts = compute(checked, pin.entry)
        origins = self._ledger.origins(Resolved(checked, resolved.handled), pin.entry, before)
        if self.vouches is not None:
            origins = vouched(origins, checked, tool=pin.tool.id, call=call, vouches=self.vouches)
        facts["origins"] = origins
        if self.peer_of is not None and pin.tool.server == NATIVE:
            facts |= self.peer_of(pin.tool.name, checked)
        return Request(
            call=call,
            tool=pin.tool,
            arguments=form,
            facts=canonical(facts),
            clearance=self._catalog.clearance(pin.entry, facts),
            at_ms=at_ms,
            trace=trace,
        )

    def transform(self, request: Request, obligations: tuple[Obligation, ...]) -> Request:
        """Apply argument-changing obligations to a copy and admit the outcome like any other arguments.

        Raises:
            ArgumentError: a pointer names nothing, or the outcome does not fit the pinned schema.

        """
        pin = self._pins.get(request.tool.id)
        if pin is None:
            raise ArgumentError("unknown_tool", "", "the tool is no longer offered")
        value = orjson.loads(request.arguments)
        for obligation in obligations:
            match obligation.type:
                case "replace_arg":
                    _change(value, obligation.pointer, orjson.loads(obligation.value))
                case "drop_arg":
                    _change(value, obligation.pointer, _DROP)
                case _:
                    pass  # limits on the result change no argument
        return self._request(
            pin, value, call=request.call, at_ms=request.at_ms, trace=request.trace, before=request
        )


def _check_unread(schema: PinnedSchema, resolved: Resolved) -> None:
    """Refuse a text that the agent has not read where the schema looks at what texts say.

    INVARIANT: whether arguments fit the schema tells nothing of what is behind a handle.

    Raises:
        ArgumentError: the same whatever the text says, so that it tells nothing either.
    """
    for path, (fewest, most) in resolved.lengths.items():
        if schema.demands(path, fewest, most):
            raise ArgumentError(
                "handle", pointer(path), "takes no handle, since the schema asks for more than any text"
            )


_DROP = object()


def _change(value: JSON, at: str, new: object) -> None:
    """Replace or drop what a JSON pointer (RFC 6901) names; it must exist."""
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in at.split("/")[1:]]
    holder: Any = value
    try:
        if not at.startswith("/"):
            raise KeyError(at)
        for token in tokens[:-1]:
            holder = holder[int(token)] if isinstance(holder, list) else holder[token]
        key: Any = int(tokens[-1]) if isinstance(holder, list) else tokens[-1]
        holder[key]
        if new is _DROP:
            del holder[key]
        else:
            holder[key] = new
    except (KeyError, IndexError, ValueError, TypeError):
        raise ArgumentError("transform", "", "an obligation names an argument that is not there") from None


def printable(text: str) -> str:
    """Reduce a received name to at most 128 printable ASCII characters, for records and messages."""
    return "".join(char if "!" <= char <= "~" else "?" for char in text[:128])


def _trace(meta: object) -> str:
    """Return the agent runtime's own id of the call, if it sent one; only ever recorded."""
    if not isinstance(meta, dict):
        return ""
    found = meta.get("claudecode/toolUseId")
    return printable(found) if isinstance(found, str) else ""
