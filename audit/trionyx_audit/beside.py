"""One thing done beside another: a thread that is handed one piece of work at a time, and waited for.

An executor does this too, at several times the cost of the system call that is to be overlapped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Beside:
    """A second thread for one owner: `start`, do something else, `join`.

    Args:
        name: the thread's.
    """

    def __init__(self, name: str) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._ends: SimpleQueue[BaseException | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], None]) -> None:
        """Begin the work; `join` must follow before the next."""
        self._work.put(work)

    def join(self) -> None:
        """Wait for the work that was begun, and raise what it raised."""
        error = self._ends.get()
        if error is not None:
            raise error

    def close(self) -> None:
        """End the thread; a second call does nothing."""
        self._work.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except BaseException as error:
                # Whatever it was, the owner is waiting for an end.
                self._ends.put(error)
            else:
                self._ends.put(None)
