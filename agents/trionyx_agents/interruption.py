"""SIGINT and SIGTERM turned into an orderly end."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskStatus

from trionyx_agents.errors import AgentError

GRACE_S = 5.0


class Interruption:
    """Watches for signals: asks the runtime to stop, then insists.

    The first signal interrupts the model's turn, which withdraws its tool calls; a second one, or a runtime
    that does not end in time, ends the conversation at once. The signal is also delivered to a runtime that
    shares the terminal; it may be gone before it can be asked.

    `scope` holds what is to be ended; `interrupt` asks the runtime, once there is one; `signal` is the first
    signal received, or None.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.scope = anyio.CancelScope()
        self.interrupt: Callable[[], Awaitable[None]] | None = None

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Wait for signals until cancelled, or until the second."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async with anyio.create_task_group() as group:
                async for received in signals:
                    if self.signal is not None:
                        break
                    self.signal = received
                    group.start_soon(self._ask_then_insist)
                self.scope.cancel()
                group.cancel_scope.cancel()

    async def _ask_then_insist(self) -> None:
        if self.interrupt is not None:
            with anyio.move_on_after(GRACE_S):
                try:
                    await self.interrupt()
                    await anyio.sleep_forever()
                except AgentError:
                    pass  # the runtime is gone already
        self.scope.cancel()
