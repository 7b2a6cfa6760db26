"""The operator's log: one JSON object a line on standard error, which can neither stop the proxy nor hold a value.

It is no audit record: a line may be dropped when nobody reads, and the count of dropped lines is told later.
Exceptions appear as their kinds and places, never with their text or their variables.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import sys
import threading
from collections.abc import MutableMapping
from traceback import walk_tb
from typing import Any

import orjson
import structlog

WAITING_LINES = 1_000
"""Lines kept for a reader that is slow; further ones are dropped and counted."""

FLUSH_S = 0.5
"""Time that waiting lines get when the process ends, seconds."""


class LineWriter:
    """Writes lines to a descriptor from a thread of its own; `msg` never blocks and never raises."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(WAITING_LINES)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="trionyx-operator-log", daemon=True)
        self._thread.start()

    def msg(self, message: str) -> None:
        """Take a line."""
        try:
            if self._dropped:
                self._lines.put_nowait(b'{"event":"log lines dropped","count":%d}\n' % self._dropped)
                self._dropped = 0
            self._lines.put_nowait(message.encode("utf-8", "backslashreplace") + b"\n")
        except queue.Full:
            self._dropped += 1

    debug = info = warning = error = critical = msg

    def close(self) -> None:
        """Give waiting lines a moment; a reader that takes nothing is not waited for."""
        try:
            self._lines.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(FLUSH_S)

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                os.write(self._descriptor, line)
            except OSError:
                continue  # nobody reads; the audit log does not depend on this


def log_to_stderr(level: str) -> None:
    """Configure structlog for this process.

    Args:
        level: the least severity that is written: debug, info, warning, error.
    """
    least = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    writer = LineWriter(2)
    atexit.register(writer.close)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _without_values,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: orjson.dumps(event).decode()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    # The SDK and the event loop report through the standard library, with values; what matters is reported here.
    logging.getLogger().addHandler(logging.NullHandler())
    logging.getLogger().setLevel(logging.CRITICAL)


def _without_values(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace an exception by its kind and the places it passed."""
    if event.pop("exc_info", None):
        kind, _error, trace = sys.exc_info()
        event["exception"] = kind.__name__ if kind else "none"
        event["places"] = [
            f"{os.path.basename(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
            for frame, line in walk_tb(trace)
        ][-12:]
    return event
