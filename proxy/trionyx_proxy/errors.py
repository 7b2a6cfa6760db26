"""The proxy's exception tree, by who must act.

Denials, verdicts and findings are values, never exceptions; what is raised here ends one operation
(a start-up, an evaluation, one upstream call) and is mapped to an event or an exit code exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass


class ProxyError(Exception):
    """Base of everything the proxy raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where and what.

    Args:
        path: dotted path of the setting, `upstreams.mail.command`; empty for the whole file.
        message: lower-case, one line, no final period.

    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class ConfigError(ProxyError):
    """The configuration cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class ArgumentError(ProxyError):
    """Bytes or a value have no single strict reading, or do not fit the pinned schema.

    Args:
        code: stable machine name, `duplicate_member`, `schema`, `too_deep`, …
        pointer: JSON pointer of the offending place, without any value.

    """

    def __init__(self, code: str, pointer: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.pointer = pointer


class ProtocolError(ProxyError):
    """The core was fed an event that its lifecycle table does not hold: a defect in the driver."""


class TokenError(ProxyError):
    """A run token is missing a claim, expired, or not signed by the launcher."""


class StateError(ProxyError):
    """The run's state cannot be trusted or is owned by another process."""


class ApprovalsError(ProxyError):
    """A person's command about approvals cannot be carried out; the text is the host's own."""


class EvidenceError(ProxyError):
    """A log does not verify, or cannot show what was asked of it; holds no text from the log."""


class UpstreamError(ProxyError):
    """An upstream server could not be started, spoke garbage, or went away."""
