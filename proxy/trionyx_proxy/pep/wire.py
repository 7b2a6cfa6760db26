"""JSON-RPC lines over byte pipes, read once and strictly, in both directions of the proxy.

One line is one message: UTF-8, no duplicate members, no lossy numbers (`trionyx_proxy.arguments`). A line that has
no single reading never becomes a message; it is handed to `on_malformed` with its bytes. Outgoing members that are
already canonical bytes are embedded as they are, so that what was decided and recorded is what is sent.

It knows nothing of methods, policies or records. Source: MCP 2025-11-25 and 2026-07-28, transports, stdio.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import anyio
import orjson
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from pydantic import ValidationError

from trionyx_audit.canonical import MAX_INTEGER
from trionyx_proxy.arguments import JSON, Limits, parse
from trionyx_proxy.errors import ArgumentError

CHUNK_BYTES = 65_536

MAX_ID_CHARS = 256

MAX_UNANSWERED = 256
"""Requests of one peer that may wait for an answer; while there are more, nothing further is read from it."""

RAW = ""
"""Key under which a result or argument object that is already canonical JSON travels through the SDK.

INVARIANT: a JSON-RPC `result` never has the empty string as its only member on a wire we write.
"""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A received line with no single reading.

    Args:
        line: the bytes as received, without the line feed, cut to the line limit.
        code: machine name of the first thing wrong.
        request_id: the id a lenient reader finds, only good for addressing an error reply.

    """

    line: bytes
    code: str
    request_id: str | int | None


OnMalformed = Callable[[Malformed], Awaitable[JSONRPCMessage | None]]
"""Told of each malformed line; a message it returns is read in the line's place."""


OnError = Callable[[JSONRPCError, str], Awaitable[None]]
"""Told of each error answer before it is written, with the method that it answers, or ""."""


class ByteSource(Protocol):
    """Where bytes come from; `anyio.EndOfStream` ends them."""

    async def receive(self, max_bytes: int = ...) -> bytes:
        """Return at least one byte, or raise EndOfStream."""


class ByteSink(Protocol):
    """Where bytes go."""

    async def send(self, item: bytes) -> None:
        """Write all of `item`, or raise BrokenResourceError."""


def raw(body: bytes) -> dict[str, Any]:
    """Wrap a canonical JSON object so that `encode` embeds its bytes unchanged."""
    return {RAW: orjson.Fragment(body)}


def encode(message: JSONRPCMessage) -> bytes:
    """Return the line of a message, line feed included.

    Does not validate: messages are built by the SDK or by this package.
    """
    out: dict[str, Any] = {"jsonrpc": "2.0"}
    match message:
        case JSONRPCRequest():
            out |= {"id": message.id, "method": message.method}
            if message.params is not None:
                out["params"] = message.params
        case JSONRPCNotification():
            out["method"] = message.method
            if message.params is not None:
                out["params"] = message.params
        case JSONRPCResponse():
            result = message.result
            out |= {"id": message.id, "result": result[RAW] if result.keys() == {RAW} else result}
        case JSONRPCError():
            out |= {"id": message.id, "error": message.error.model_dump(mode="json", exclude_none=True)}
    return orjson.dumps(out) + b"\n"


def decode(line: bytes, limits: Limits, *, mends_results: bool = False) -> JSONRPCMessage | Malformed:
    """Read one line strictly.

    Args:
        line: without its line feed.
        limits: bounds on bytes, depth, nodes, strings and keys of the whole message.
        mends_results: in the result of a tool, take `arguments.REPLACEMENT` for a NUL or lone surrogate: whoever
            writes one text of a result does not take the rest of it away.

    """
    try:
        value = parse(line, limits)
    except ArgumentError as error:
        value = _mended(line, limits) if mends_results and error.code in ("nul", "surrogate") else None
        if value is None:
            return Malformed(line, error.code, _lenient_id(line))
    if not isinstance(value, dict) or value.get("jsonrpc") != "2.0":
        return Malformed(line, "not_json_rpc", _lenient_id(line))
    members = frozenset(value)
    shapes: list[tuple[frozenset[str], frozenset[str], type[Any]]] = [
        (frozenset({"id", "method"}), frozenset({"params"}), JSONRPCRequest),
        (frozenset({"method"}), frozenset({"params"}), JSONRPCNotification),
        (frozenset({"id", "result"}), frozenset(), JSONRPCResponse),
        (frozenset({"id", "error"}), frozenset(), JSONRPCError),
    ]
    for required, optional, model in shapes:
        if required <= members and members <= required | optional | {"jsonrpc"}:
            if isinstance(value.get("id"), bool):
                break
            try:
                message: JSONRPCMessage = model.model_validate(value, strict=True)
            except ValidationError:
                break
            return message
    return Malformed(line, "not_json_rpc", _lenient_id(line))


def _mended(line: bytes, limits: Limits) -> JSON:
    """Return a message that holds a tool's result, with its texts made readable; None for any other.

    Descriptors of tools in particular are never mended: what is offered is what the server said.
    """
    try:
        value = parse(line, limits, mends_text=True)
    except ArgumentError:
        return None
    result = value.get("result") if isinstance(value, dict) else None
    is_tools = isinstance(result, dict) and isinstance(result.get("content"), list) and "tools" not in result
    return value if is_tools else None


def _lenient_id(line: bytes) -> str | int | None:
    """Find an id to address an error reply to; decides nothing else."""
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    found = value.get("id") if isinstance(value, dict) else None
    match found:
        case bool():
            return None
        case int() if abs(found) <= MAX_INTEGER:
            return found
        case str() if found.isascii() and len(found) <= MAX_ID_CHARS:
            return found
        case _:
            return None  # an id that cannot be written back addresses nobody


async def lines(source: ByteSource, max_bytes: int) -> AsyncIterator[tuple[bytes, bool]]:
    """Yield `(line, whole)`; a line over `max_bytes` is yielded cut, once, with `whole` false.

    Bytes after the last line feed are not a line and are dropped: the peer went away in the middle.
    """
    buffer = bytearray()
    skipping = False
    while True:
        try:
            chunk = await source.receive(CHUNK_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            return
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            buffer += chunk[start:end]
            start = end + 1
            if skipping:
                skipping = False
            elif len(buffer) > max_bytes:
                yield bytes(buffer[:max_bytes]), False
            elif buffer.strip():
                yield bytes(buffer), True
            buffer.clear()
        buffer += chunk[start:]
        if len(buffer) > max_bytes:
            if not skipping:
                yield bytes(buffer[:max_bytes]), False
            skipping = True
            buffer.clear()


@dataclass(frozen=True, slots=True)
class Wire:
    """The two message streams of a connection, in the shape the SDK's dispatcher takes.

    Args:
        incoming: ends when the source does, or after `hang_up`.
        outgoing: what is written.
        hang_up: read nothing further; what was read before is still handed on.

    """

    incoming: MemoryObjectReceiveStream[SessionMessage | Exception]
    outgoing: MemoryObjectSendStream[SessionMessage]
    hang_up: Callable[[], None]


class _Unanswered:
    """Requests read and not yet answered; a peer that reads no answers is read no further."""

    def __init__(self) -> None:
        self._methods: dict[str | int, str] = {}
        self._freed = anyio.Event()

    async def admit(self, message: JSONRPCMessage) -> None:
        """Note a request, waiting while too many are unanswered; a withdrawn one gets no answer."""
        match message:
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": str() | int() as id_}
            ):
                self.settle(id_)
            case JSONRPCRequest():
                while len(self._methods) >= MAX_UNANSWERED:
                    self._freed = anyio.Event()
                    await self._freed.wait()
                self._methods[message.id] = message.method

    def method(self, id_: str | int | None) -> str:
        """Return the method of an unanswered request, or ""."""
        return "" if id_ is None else self._methods.get(id_, "")

    def settle(self, id_: str | int | None) -> None:
        """Forget an answered or withdrawn request."""
        if id_ is not None and self._methods.pop(id_, None) is not None:
            self._freed.set()


@asynccontextmanager
async def connect(
    source: ByteSource,
    sink: ByteSink,
    *,
    limits: Limits,
    on_malformed: OnMalformed,
    on_error: OnError | None = None,
    mends_results: bool = False,
) -> AsyncIterator[Wire]:
    """Join a byte pipe pair to message streams until the block is left.

    The incoming stream ends when the source does. Malformed lines are handled one after the other,
    which is the back-pressure against a peer that sends nothing else. For `mends_results` see `decode`.
    """
    to_peer, from_us = anyio.create_memory_object_stream[SessionMessage](0)
    to_us, from_peer = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    unanswered = _Unanswered()
    reading = anyio.CancelScope()

    async def read() -> None:
        async with to_us:
            with reading:
                await hand_on()

    async def hand_on() -> None:
        async for line, whole in lines(source, limits.max_bytes):
            message: JSONRPCMessage | Malformed = Malformed(line, "too_large", None)
            if whole:
                message = decode(line, limits, mends_results=mends_results)
            if isinstance(message, Malformed):
                instead = await on_malformed(message)
                if instead is None:
                    continue
                message = instead
            await unanswered.admit(message)
            try:
                await to_us.send(SessionMessage(message))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    async def write() -> None:
        async with from_us:
            async for item in from_us:
                message = item.message
                if on_error is not None and isinstance(message, JSONRPCError):
                    await on_error(message, unanswered.method(message.id))
                try:
                    await sink.send(encode(message))
                except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
                    return
                if isinstance(message, JSONRPCResponse | JSONRPCError):
                    unanswered.settle(message.id)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        tasks.start_soon(write)
        try:
            yield Wire(from_peer, to_peer, reading.cancel)
        finally:
            tasks.cancel_scope.cancel()
            for stream in (to_peer, from_peer, to_us, from_us):
                stream.close()
