"""The MCP server that the agent talks to: two protocol eras, a short list of methods, nothing else.

Every request passes one gate before the SDK acts on it. `tools/list` and `tools/call` are answered here from the pins
and the driver; the handshake and `ping` are the SDK's; every other method is refused and recorded. It decides nothing.

Source: MCP 2025-11-25 (handshake era) and 2026-07-28 (an envelope on each request).
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import anyio
import mcp_types
import orjson
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from trionyx_proxy.arguments import LINE, Limits
from trionyx_proxy.core.event import CallRejected, CallRequested
from trionyx_proxy.core.request import CallId, Refusal, Rejection, RejectionCode, Result
from trionyx_proxy.pep import wire
from trionyx_proxy.pep.admission import Admission, printable
from trionyx_proxy.pep.delivery import refusal_body
from trionyx_proxy.pep.driver import Driver
from trionyx_proxy.pep.elicitation import elicitor

SDK_METHODS = frozenset({"initialize", "server/discover", "ping"})
"""Requests that the SDK answers without touching a tool."""

SDK_NOTIFICATIONS = frozenset({"notifications/initialized", "notifications/cancelled"})

INSTRUCTIONS = (
    "Tool calls are checked by an organisation's policy. A refused call says which rule refused it and "
    "what would be allowed instead."
)

MAX_PROGRESS = 1_000
"""Progress notifications passed on per call; a faster upstream gains nothing by more."""

MAX_REJECTIONS = 10_000
"""Messages without a meaning that one connection may send; then it is closed, so that it cannot fill the disk."""

MintCall = Callable[[], CallId]


class Downstream:
    """Serves one agent connection until it ends.

    Args:
        driver: carries out calls.
        admission: knows the offered tools.
        mint: makes call ids.
        max_in_flight: calls beyond this number are refused at once, and recorded.

    """

    def __init__(self, driver: Driver, admission: Admission, *, mint: MintCall, max_in_flight: int) -> None:
        self._driver = driver
        self._admission = admission
        self._mint = mint
        self._max_in_flight = max_in_flight
        self._refused: set[str | int] = set()
        self._rejections = 0
        self._hang_up: Callable[[], None] = _nothing
        self._server: Server[Any] = Server(
            "trionyx-proxy",
            version=version("trionyx-proxy"),
            instructions=INSTRUCTIONS,
            on_list_tools=_unreachable,
            on_call_tool=_unreachable,
        )
        # The SDK's own tracing middleware is replaced: nothing but the gate stands before a method.
        self._server.middleware = [self._gate]

    async def serve(self, source: wire.ByteSource, sink: wire.ByteSink, *, limits: Limits = LINE) -> None:
        """Answer messages until the agent's side closes; malformed lines are answered and recorded too."""
        outgoing: list[anyio.abc.ObjectSendStream[SessionMessage]] = []

        async def on_malformed(found: wire.Malformed) -> None:
            ending = await self._driver.call(
                CallRejected(
                    self._rejection(
                        RejectionCode.MALFORMED, "", found.line, f"unreadable message: {found.code}"
                    )
                )
            )
            text = _first_reason(ending)
            error = mcp_types.JSONRPCError(
                jsonrpc="2.0",
                id=found.request_id,
                error=mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message=text),
            )
            if found.request_id is not None:
                self._refused.add(found.request_id)  # recorded above
            await outgoing[0].send(SessionMessage(error))

        async def on_error(error: mcp_types.JSONRPCError, method: str) -> None:
            """Record what the SDK refused before the gate saw it, but for the search for a common revision."""
            if error.id is None or method in SDK_METHODS:
                return
            if error.id in self._refused:
                self._refused.discard(error.id)
                return
            received = orjson.dumps({"id": error.id})
            await self._driver.call(
                CallRejected(
                    self._rejection(
                        RejectionCode.MALFORMED,
                        printable(method),
                        received,
                        "the request breaks the protocol",
                    )
                )
            )

        async with wire.connect(
            source, sink, limits=limits, on_malformed=on_malformed, on_error=on_error
        ) as pipes:
            outgoing.append(pipes.outgoing.clone())
            self._hang_up = pipes.hang_up
            await self._server.run(
                pipes.incoming, pipes.outgoing, self._server.create_initialization_options()
            )

    async def _gate(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Let through what is on the list; refuse and record everything else."""
        method = ctx.method
        if ctx.request_id is not None:
            self._refused.add(ctx.request_id)
            result = await self._answer(ctx, call_next)
            self._refused.discard(ctx.request_id)
            return result
        if method not in SDK_NOTIFICATIONS:
            await self._refuse_method(method, ctx.params)
            return None
        return await call_next(ctx)

    async def _answer(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        method = ctx.method
        if method in SDK_METHODS:
            return await call_next(ctx)
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        match method:
            case "tools/list":
                return self._list(is_modern)
            case "tools/call":
                return await self._call(ctx)
            case _:
                reason = await self._refuse_method(method, ctx.params)
                raise MCPError(code=mcp_types.METHOD_NOT_FOUND, message=reason)

    def _list(self, is_modern: bool) -> dict[str, Any]:
        """Answer `tools/list`: one page, the same for every caller of this run, not to be cached."""
        pins = self._admission.pins
        result: dict[str, Any] = {"tools": [pins[name].offered for name in sorted(pins)]}
        if is_modern:
            result |= {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
        return result

    async def _call(self, ctx: ServerRequestContext[Any, Any]) -> dict[str, Any]:
        call = self._mint()
        outcome = self._admission.admit(ctx.params, call=call, at_ms=_now_ms())
        if isinstance(outcome, Rejection):
            ending = await self._driver.call(CallRejected(outcome))
        elif self._driver.in_flight >= self._max_in_flight:
            rejection = self._rejection(
                RejectionCode.OVERLOADED,
                outcome.tool.id,
                outcome.arguments,
                "too many calls are in flight",
                call,
            )
            ending = await self._driver.call(CallRejected(rejection))
        else:
            ending = await self._driver.call(
                CallRequested(outcome), on_progress=_progress(ctx), elicit=elicitor(ctx)
            )
        match ending:
            case Result():
                return wire.raw(ending.body)
            case Refusal():
                return wire.raw(refusal_body(ending, call=call))

    async def _refuse_method(self, method: str, params: object) -> str:
        received = orjson.dumps({"method": method, "params": params})
        subject = printable(method)
        rejection = self._rejection(
            RejectionCode.UNKNOWN_METHOD, subject, received, "the method is not served"
        )
        return _first_reason(await self._driver.call(CallRejected(rejection)))

    def _rejection(
        self, code: RejectionCode, subject: str, received: bytes, detail: str, call: CallId | None = None
    ) -> Rejection:
        self._rejections += 1
        if self._rejections >= MAX_REJECTIONS:
            self._hang_up()  # not more: messages read before this one may still have to be recorded
        digest = hashlib.sha256(received).hexdigest()
        return Rejection(call or self._mint(), code, subject, detail, digest, len(received), _now_ms())


async def _unreachable(ctx: object, params: object) -> Any:
    # Registered so that the SDK advertises tools; the gate answers both methods before it.
    raise MCPError(code=mcp_types.INTERNAL_ERROR, message="not served here")


def _nothing() -> None:
    """Stand in for what is known once the connection is up."""


def _first_reason(ending: Result | Refusal) -> str:
    if isinstance(ending, Refusal) and ending.reasons:
        return f"[{ending.reasons[0].id}] {ending.reasons[0].title}"
    return "refused"


def _progress(ctx: ServerRequestContext[Any, Any]) -> Callable[[float, float | None], Any]:
    """Pass on progress as numbers that only rise; the text that may come with them stays here."""
    sent, last = 0, -math.inf

    async def deliver(progress: float, total: float | None) -> None:
        nonlocal sent, last
        if sent >= MAX_PROGRESS or not math.isfinite(progress) or progress <= last:
            return
        sent, last = sent + 1, progress
        await ctx.session.report_progress(progress, total if total is None or math.isfinite(total) else None)

    return deliver


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
