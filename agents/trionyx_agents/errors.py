"""What ends an agent's launch before a model is asked, and what ends a run that has begun."""

from __future__ import annotations

import signal


class AgentError(Exception):
    """The run cannot start; carries every problem found, each one line without a final period."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class LockdownError(AgentError):
    """The runtime came up with other tools than the expected; the run was ended before it could act."""


class Interrupted(BaseException):
    """A signal ended the command; whatever it had started is gone.

    Not an `Exception`: it may strike anywhere in blocking work, where no handler of errors may take it for one.
    """

    def __init__(self, received: signal.Signals) -> None:
        super().__init__(received.name)
        self.signal = received
