"""SIGINT and SIGTERM turned into an orderly end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskStatus

from trionyx_agents.errors import AgentError, Interrupted

GRACE_S = 5.0
WATCHED = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Receives the signals of one command while it is entered; none is lost, whatever the command is at.

    A signal is kept until somebody acts on it: in a `breaking` block it ends the work at once, in a conversation
    `watch` acts, and anywhere else the next of these two does, so that directories and processes are never left
    halfway made. A second one ends any other work too. A signal that was ignored when the command was started, as
    SIGINT is in the background of a shell script, is received all the same.

    Watching, the first signal interrupts the model's turn, which withdraws its tool calls; a second one, or a
    runtime that does not end in time, ends the conversation at once. The signal is also delivered to a runtime
    that shares the terminal; it may be gone before it can be asked.

    `scope`, made by `watch`, holds what is to be ended; `interrupt` asks the runtime, once there is one;
    `signal` is the first signal received, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.scope: anyio.CancelScope
        self.interrupt: Callable[[], Awaitable[None]] | None = None
        self._received = 0
        self._is_breaking = False
        self._is_watched = False

    def __enter__(self) -> Self:
        # A handler alone does not wake an event loop that is about to sleep: the byte in the pipe does.
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._before_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before: list[Any] = [signal.signal(number, self._receive) for number in WATCHED]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in zip(WATCHED, self._before, strict=True):
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._reader.close()
        self._writer.close()

    @contextmanager
    def breaking(self) -> Iterator[None]:
        """Let a signal end the block, or not let it begin.

        Raises:
            Interrupted: a signal was received, before or in the block.
        """
        self._is_breaking = True
        try:
            self.check()
            yield
            self.check()
        finally:
            self._is_breaking = False

    def check(self) -> None:
        """Go on only if no signal was received.

        Raises:
            Interrupted: one was.
        """
        if self.signal is not None:
            raise Interrupted(self.signal)

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Act on signals, also on one received before, until cancelled or until the second."""
        self.scope = anyio.CancelScope()
        self._is_watched = True
        task_status.started()
        try:
            async with anyio.create_task_group() as group:
                await self._until(1)
                group.start_soon(self._ask_then_insist)
                await self._until(2)
                self.scope.cancel()
                group.cancel_scope.cancel()
        finally:
            self._is_watched = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._received += 1
        if self.signal is None:
            self.signal = signal.Signals(number)
        if not self._is_watched and (self._is_breaking or self._received > 1):
            raise Interrupted(self.signal)

    async def _until(self, count: int) -> None:
        while self._received < count:
            await anyio.wait_readable(self._reader)
            self._reader.recv(4096)

    async def _ask_then_insist(self) -> None:
        if self.interrupt is not None:
            with anyio.move_on_after(GRACE_S):
                try:
                    await self.interrupt()
                    await anyio.sleep_forever()
                except AgentError:
                    pass  # the runtime is gone already
        self.scope.cancel()
