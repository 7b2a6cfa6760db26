"""Where records get their time from, and how they spell it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one that says when, one that never goes back."""

    def wall_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary moment, never falling."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Return Unix time in nanoseconds."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Return nanoseconds since an arbitrary moment, never falling."""
        return time.monotonic_ns()


def timestamp(wall_ns: int) -> str:
    """Return RFC 3339 UTC with six decimals, `2026-11-21T02:15:56.000000Z`."""
    seconds, nanoseconds = divmod(wall_ns, 1_000_000_000)
    return f"{_second(seconds)}.{nanoseconds // 1000:06d}Z"


def seconds_between(earlier: str, later: str) -> float:
    """Return the seconds from one timestamp to another; 0.0 where they are none or time went back."""
    try:
        return max(0.0, (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


@lru_cache(maxsize=16)
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
