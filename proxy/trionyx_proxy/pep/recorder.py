"""The log as the event loop sees it: a record is durable within the deadline, or it failed.

It holds no record back, retries nothing and decides nothing; after a failure the core stops asking.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from trionyx_audit.errors import AuditError
from trionyx_audit.log import Draft, Log


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

    async def store(self, type_: str, body: bytes, payloads: Mapping[str, bytes]) -> int | None:
        """Append one record; return its sequence number once durable, or None when it is not known to be."""
        try:
            future = self._log.submit(Draft(type_, body, payloads))
            receipt = await asyncio.wait_for(asyncio.wrap_future(future), self._deadline_s)
        except (AuditError, OSError, TimeoutError):
            return None
        return receipt.seq

    async def close(self) -> None:
        """Publish the last checkpoint and release the log."""
        await asyncio.to_thread(self._log.close)
