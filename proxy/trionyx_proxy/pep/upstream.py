"""One real tool server as a child process: started, spoken to, watched, restarted with back-off.

Only messages with a decision reach it: the handshake, `tools/list`, and `tools/call` with the decided bytes. Whatever
it asks of us is refused. It knows no policy, no label and no record.

Source: MCP 2025-11-25 lifecycle (the `initialize` handshake) and 2026-07-28 (`_meta` envelope on each request).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc
import mcp_types
import structlog
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION

from trionyx_proxy.arguments import LINE, Limits
from trionyx_proxy.core.request import Failure, FailureKind
from trionyx_proxy.errors import UpstreamError
from trionyx_proxy.pep import wire

BACKOFF_FIRST_S = 0.1
BACKOFF_LONGEST_S = 30.0
STABLE_AFTER_S = 60.0
"""A child that lived this long starts again without waiting."""

STOP_GRACE_S = 2.0
"""Time between closing a child's input and killing it. Source: MCP 2025-11-25, stdio shutdown."""

WRITE_GRACE_S = 1.0
"""Time beyond the call's limit after which a server counts as not reading, seconds."""

RELIST_EVERY_S = 5.0
"""A server that says its list changed is asked again at most this often, seconds."""

MAX_TOOLS = 1_000
MAX_PAGES = 100
STDERR_LINE_BYTES = 4_096

OnProgress = Callable[[float, float | None], Awaitable[None]]
OnListed = Callable[["Upstream", list[dict[str, Any]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start one upstream.

    Args:
        alias: name in the configuration; first part of the offered tool names.
        command: program and arguments; the program is a path, nothing is looked up by a shell.
        env: the child's whole environment.
        cwd: working directory, or None for ours.
        start_timeout_s: limit on handshake plus listing, seconds.

    """

    alias: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str | None
    start_timeout_s: float


@dataclass(slots=True)
class _Connection:
    """A live child: its dispatcher and, for servers without a handshake, the envelope of each request."""

    dispatcher: JSONRPCDispatcher
    scope: anyio.CancelScope
    envelope: dict[str, Any] = field(default_factory=dict)
    is_ready: bool = False
    garbage: bool = False
    list_changed: anyio.Event = field(default_factory=anyio.Event)


class Upstream:
    """A supervised tool server.

    `run` keeps the child alive until cancelled; `call` uses it if it is up. A call during which the child dies ends in
    a Failure at once; it is never sent again, since its effect may have happened.
    """

    def __init__(self, launch: Launch, *, on_listed: OnListed, limits: Limits = LINE) -> None:
        self.alias = launch.alias
        self._launch = launch
        self._limits = limits
        self._on_listed = on_listed
        self._connection: _Connection | None = None
        self._log = structlog.get_logger("trionyx.upstream").bind(upstream=launch.alias)
        self.settled = anyio.Event()
        """Set after the first start has succeeded or failed."""

    @property
    def is_up(self) -> bool:
        """Whether a call could be sent now."""
        return self._connection is not None and self._connection.is_ready

    async def run(self) -> None:
        """Start the child, restart it when it ends, wait longer after each quick end; never returns by itself."""
        pause_s = BACKOFF_FIRST_S
        while True:
            began = anyio.current_time()
            try:
                async with self._child() as ended:
                    self.settled.set()
                    await ended.wait()
                self._log.warning("upstream ended")
            except (OSError, UpstreamError, MCPError, TimeoutError) as error:
                self._log.warning("upstream failed", reason=_reason(error))
            finally:
                self._connection = None
                self.settled.set()
            pause_s = (
                BACKOFF_FIRST_S
                if anyio.current_time() - began > STABLE_AFTER_S
                else min(pause_s * 2, BACKOFF_LONGEST_S)
            )
            await anyio.sleep(pause_s)

    @contextlib.asynccontextmanager
    async def _child(self) -> AsyncIterator[anyio.Event]:
        """Start one child, finish handshake and listing, yield an event that is set when its output ends."""
        process = await anyio.open_process(
            list(self._launch.command),
            env=dict(self._launch.env),
            cwd=self._launch.cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise UpstreamError("the child has no pipes")
        ended = anyio.Event()
        try:
            async with (
                anyio.create_task_group() as tasks,
                wire.connect(
                    process.stdout,
                    process.stdin,
                    limits=self._limits,
                    on_malformed=self._malformed,
                    mends_results=True,
                ) as pipes,
            ):
                tasks.start_soon(self._drain_stderr, process.stderr)
                dispatcher = JSONRPCDispatcher(pipes.incoming, pipes.outgoing)
                connection = self._connection = _Connection(dispatcher, tasks.cancel_scope)

                async def pump(*, task_status: anyio.abc.TaskStatus[None]) -> None:
                    try:
                        await dispatcher.run(self._refuse, self._notified, task_status=task_status)
                    finally:
                        self._connection = None
                        ended.set()

                await tasks.start(pump)
                failure: MCPError | UpstreamError | TimeoutError | None = None
                try:
                    # An error raised inside a task group would surface as an exception group.
                    with anyio.fail_after(self._launch.start_timeout_s):
                        await self._greet(connection)
                        await self._list(connection)
                    connection.is_ready = True
                    tasks.start_soon(self._relist, connection)
                    yield ended
                except (MCPError, UpstreamError, TimeoutError) as error:
                    failure = error
                tasks.cancel_scope.cancel()
            if connection.garbage:
                raise UpstreamError("the server sent a malformed message")
            if failure is not None:
                raise failure
        finally:
            with anyio.CancelScope(shield=True):
                await _stop(process)

    async def _greet(self, connection: _Connection) -> None:
        """Agree on a protocol revision: the handshake, or an envelope where the server has none."""
        info = {"name": "trionyx-proxy", "version": "1"}
        try:
            answer = await connection.dispatcher.send_raw_request(
                "initialize",
                {"protocolVersion": LATEST_HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": info},
                CallOptions(cancel_on_abandon=False),
            )
        except MCPError as error:
            if error.error.code not in (mcp_types.METHOD_NOT_FOUND, mcp_types.UNSUPPORTED_PROTOCOL_VERSION):
                raise
            connection.envelope = {
                mcp_types.PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
                mcp_types.CLIENT_INFO_META_KEY: info,
                mcp_types.CLIENT_CAPABILITIES_META_KEY: {},
            }
            return
        if answer.get("protocolVersion") not in HANDSHAKE_PROTOCOL_VERSIONS:
            raise UpstreamError("the server speaks no protocol revision known here")
        await connection.dispatcher.notify("notifications/initialized", None)

    async def _list(self, connection: _Connection) -> None:
        """Read the whole tool list, bounded, and hand it to the owner of the pins."""
        tools: list[dict[str, Any]] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
            if connection.envelope:
                params["_meta"] = dict(connection.envelope)
            answer = await connection.dispatcher.send_raw_request("tools/list", params)
            page = answer.get("tools")
            if not isinstance(page, list) or not all(isinstance(tool, dict) for tool in page):
                raise UpstreamError("the server's tool list is not a list of tools")
            tools += page
            if len(tools) > MAX_TOOLS:
                raise UpstreamError(f"the server lists more than {MAX_TOOLS} tools")
            cursor = answer.get("nextCursor")
            if cursor is None:
                await self._on_listed(self, tools)
                return
            if not isinstance(cursor, str):
                raise UpstreamError("the server's list cursor is not a string")
        raise UpstreamError(f"the server's tool list has more than {MAX_PAGES} pages")

    async def call(
        self, name: str, arguments: bytes, *, timeout_s: float, on_progress: OnProgress | None
    ) -> Mapping[str, Any] | Failure:
        """Send one decided call and return the raw result, or why there is none.

        Does not clean the result and does not retry. Cancelling the awaiting task withdraws the call upstream.

        Args:
            name: the upstream's own tool name.
            arguments: canonical JSON object, sent byte for byte.
            timeout_s: limit on the whole exchange, seconds.
            on_progress: receives progress and total; an upstream's progress text is never passed on.

        """
        connection = self._connection
        if connection is None or not connection.is_ready:
            return Failure(FailureKind.UNAVAILABLE, "the tool's server is not running", sent=False)
        params: dict[str, Any] = {"name": name, "arguments": wire.raw(arguments)[wire.RAW]}
        if connection.envelope:
            params["_meta"] = dict(connection.envelope)
        options = CallOptions(timeout=timeout_s)
        if on_progress is not None:
            options["on_progress"] = _numbers_only(on_progress)
        try:
            # The dispatcher's own clock starts when the request is written; a server that reads nothing
            # would hold the call for ever.
            with anyio.move_on_after(timeout_s + WRITE_GRACE_S):
                return await connection.dispatcher.send_raw_request("tools/call", params, options)
            self._log.warning("upstream reads nothing and is ended")
            connection.scope.cancel()
            return Failure(FailureKind.TIMEOUT, "the tool did not answer in time", sent=True)
        except MCPError as error:
            # A server may use these codes for errors of its own: that costs it a wrong word in a record, no more.
            match error.error.code:
                case mcp_types.REQUEST_TIMEOUT:
                    return Failure(FailureKind.TIMEOUT, "the tool did not answer in time", sent=True)
                case mcp_types.PARSE_ERROR:
                    return Failure(FailureKind.GARBAGE, "the tool's answer is not well-formed", sent=True)
                case mcp_types.CONNECTION_CLOSED if connection.garbage:
                    return Failure(
                        FailureKind.GARBAGE, "the tool's server sent a malformed message", sent=True
                    )
                case mcp_types.CONNECTION_CLOSED if error.error.message == "Connection closed":
                    return Failure(FailureKind.CRASHED, "the tool's server ended during the call", sent=True)
                case _:
                    # The error's own text is an upstream's words and is not repeated.
                    return Failure(
                        FailureKind.PROTOCOL_ERROR, "the tool's server refused the call", sent=True
                    )
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return Failure(FailureKind.CRASHED, "the tool's server ended during the call", sent=True)

    async def _malformed(self, found: wire.Malformed) -> mcp_types.JSONRPCMessage | None:
        """Fail the call that a malformed line answers; without one, end the child: it may be the answer to any."""
        self._log.warning("upstream sent a malformed line", code=found.code, size_bytes=len(found.line))
        if found.request_id is not None:
            return mcp_types.JSONRPCError(
                jsonrpc="2.0",
                id=found.request_id,
                error=mcp_types.ErrorData(code=mcp_types.PARSE_ERROR, message="malformed"),
            )
        if self._connection is not None:
            self._connection.garbage = True
            self._connection.scope.cancel()
        return None

    async def _refuse(self, _: object, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
        """Answer what an upstream asks of its client: nothing is offered but `ping`."""
        if method == "ping":
            return {}
        self._log.warning("upstream asked for something that is not offered", method=_printable(method))
        raise MCPError(code=mcp_types.METHOD_NOT_FOUND, message="not offered")

    async def _notified(self, _: object, method: str, params: Mapping[str, Any] | None) -> None:
        """Take a notification: a changed tool list is read again later, the rest is dropped."""
        if method == "notifications/tools/list_changed" and self._connection is not None:
            self._connection.list_changed.set()

    async def _relist(self, connection: _Connection) -> None:
        """Read the tool list again when it changed, once for however many notices came meanwhile."""
        while True:
            await connection.list_changed.wait()
            connection.list_changed = anyio.Event()
            try:
                with anyio.fail_after(self._launch.start_timeout_s):
                    await self._list(connection)
            except (MCPError, UpstreamError, TimeoutError) as error:
                self._log.warning("upstream's changed tool list is unusable", reason=_reason(error))
            await anyio.sleep(RELIST_EVERY_S)

    async def _drain_stderr(self, stream: anyio.abc.ByteReceiveStream) -> None:
        """Pass the child's standard error to the operator's log, cut and escaped; never to the agent."""
        async for line, _ in wire.lines(stream, STDERR_LINE_BYTES):
            self._log.info("upstream stderr", text=_printable(line.decode("utf-8", "replace")))


def _numbers_only(deliver: OnProgress) -> ProgressFnT:
    async def forward(progress: float, total: float | None, message: str | None) -> None:
        await deliver(progress, total)

    return forward


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text[:1_000])


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within start_timeout_ms"
    return _printable(str(error)) or type(error).__name__


async def _stop(process: anyio.abc.Process) -> None:
    """End a child: close its input, wait a little, then kill it and whatever it started."""
    if process.stdin is not None:
        with contextlib.suppress(OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await process.stdin.aclose()
    with anyio.move_on_after(STOP_GRACE_S):
        await process.wait()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    await process.aclose()
