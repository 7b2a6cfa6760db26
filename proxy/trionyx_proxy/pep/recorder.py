"""The log as the event loop sees it: a record is durable within the deadline, or it failed.

It holds no record back, retries nothing and decides nothing; after a failure the core stops asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress

from trionyx_audit.errors import AuditError
from trionyx_audit.log import Draft, Log, Receipt

Told = Callable[[int | None], None]


class Recorder:
    """Appends drafts to one log and waits for their durability.

    Args:
        log: the run's log; this process is its only writer.
        deadline_s: limit on one record's way to the disk, seconds. A record that becomes durable later is in the log,
            but nobody acts on it.

    """

    def __init__(self, log: Log, *, deadline_s: float) -> None:
        self._log = log
        self._deadline_s = deadline_s

    def begin(self, type_: str, body: bytes, payloads: Mapping[str, bytes], told: Told) -> None:
        """Append one record and return; `told` is called once, later, on the running event loop.

        Args:
            type_: record type.
            body: canonical JSON object.
            payloads: byte strings that the record commits to, by member name.
            told: receives the record's sequence number once it is durable, or None when it is not known to be.

        """
        loop = asyncio.get_running_loop()
        is_open = True

        def tell(seq: int | None) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                timer.cancel()
                told(seq)

        def pass_on(future: Future[Receipt]) -> None:
            # On the writer's thread. A loop that is closed has nobody left to be told.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(tell, _durable(future))

        # Callbacks, not tasks and futures: every step of those is one more trip round the loop for each record.
        timer = loop.call_later(self._deadline_s, tell, None)
        self._log.submit(Draft(type_, body, payloads)).add_done_callback(pass_on)

    async def store(self, type_: str, body: bytes, payloads: Mapping[str, bytes]) -> int | None:
        """Append one record; return its sequence number once durable, or None when it is not known to be."""
        stored: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        def told(seq: int | None) -> None:
            if not stored.done():
                stored.set_result(seq)

        self.begin(type_, body, payloads, told)
        return await stored

    async def close(self) -> None:
        """Publish the last checkpoint and release the log."""
        await asyncio.to_thread(self._log.close)


def _durable(future: Future[Receipt]) -> int | None:
    """Return the sequence number of a record whose future is done, None if it failed."""
    try:
        return future.result().seq
    except (AuditError, OSError):
        return None
