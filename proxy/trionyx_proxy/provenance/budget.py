"""How many bits of hidden text a run may learn by questions about it.

A question with n possible answers tells at most log2(n) bits. Charges are kept in thousandths, rounded up, so that
they add up alike on every machine. Nothing here answers a question.
"""

from __future__ import annotations

import math


def bits(answers: int) -> float:
    """Return the bits that one of so many answers tells.

    Args:
        answers: number of possible answers, "none of them" included; at least 1.

    Raises:
        ValueError: fewer than one.
    """
    if answers < 1:
        raise ValueError("a question has at least one answer")
    return math.log2(answers)


class Budget:
    """What one run may still learn.

    Args:
        limit: bits in all, at least 0.
        spent_millibits: used up already, by an earlier process of the run.
    """

    def __init__(self, limit: float, spent_millibits: int = 0) -> None:
        self._limit = math.floor(limit * 1000)
        self._spent = max(0, spent_millibits)

    @property
    def spent_millibits(self) -> int:
        """Thousandths of bits used up; what a later process resumes with."""
        return self._spent

    @property
    def left(self) -> float:
        """Bits that may still be asked for, at least 0."""
        return max(0, self._limit - self._spent) / 1000

    def charge(self, cost: float) -> bool:
        """Use up the bits of one question; without effect and False if there are not that many left.

        Args:
            cost: bits, finite; a negative or odd cost is refused.
        """
        if not math.isfinite(cost) or cost < 0:
            return False
        needed = math.ceil(round(cost * 1000, 6))
        if self._spent + needed > self._limit:
            return False
        self._spent += needed
        return True
