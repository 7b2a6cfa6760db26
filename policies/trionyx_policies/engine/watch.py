"""A thread that ends what holds the event loop too long: the loop's own timers cannot, while it is held.

It looks every few milliseconds while there is work, and sleeps while there is none. It kills nothing by itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

LOOK_S: Final = 0.004
"""Seconds between two looks; what is seen in two of them has run for 4 to 8 ms."""

_IDLE_LOOKS: Final = 25


class Watch:
    """Calls back, in its own thread, about work that is still the same after two looks."""

    def __init__(self) -> None:
        self._begun = 0
        self._ended = 0
        self._interrupt: Callable[[], None] | None = None
        self._closed = False
        self._awake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trionyx-policy-watch", daemon=True)
        self._thread.start()

    def begin(self, interrupt: Callable[[], None]) -> None:
        """Say that work begins; `interrupt` must be harmless when it comes just after the work's end."""
        self._interrupt = interrupt
        self._begun += 1
        if not self._awake.is_set():
            self._awake.set()

    def end(self) -> None:
        """Say that the work has ended."""
        self._ended = self._begun

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._awake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            # INVARIANT: cleared before the counters are read, so work that begins meanwhile sets it again.
            self._awake.clear()
            if not self._look():
                self._awake.wait()

    def _look(self) -> bool:
        """Look until nothing has happened for 0.1 s; return whether anything had."""
        seen, idle, busy = self._begun, 0, self._begun != self._ended
        while idle < _IDLE_LOOKS and not self._closed:
            time.sleep(LOOK_S)
            begun = self._begun
            if begun != seen:
                seen, idle, busy = begun, 0, True
            elif begun != self._ended and self._interrupt is not None:
                self._interrupt()
                idle, busy = 0, True
            else:
                idle += 1
        return busy
