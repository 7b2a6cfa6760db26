"""The policy package's exception tree, by who must act.

A denial is a value (`trionyx_policies.decision`), never an exception. What is raised here means that there is
no decision: callers deny and record the code.
"""

from __future__ import annotations

from enum import StrEnum


class PolicyError(Exception):
    """Base of everything this package raises on purpose."""


class BundleError(PolicyError):
    """A bundle cannot be used; carries every problem found, each as `path: message`."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class EngineError(PolicyError):
    """An engine could not be started; nothing of it is left running."""


class EvaluationCode(StrEnum):
    """Why one evaluation brought no decision."""

    TIMEOUT = "timeout"
    CRASH = "crash"
    MEMORY = "memory"
    UNDEFINED = "undefined"
    ILL_TYPED = "ill_typed"
    DUPLICATE_KEY = "duplicate_key"
    BUILTIN_ERROR = "builtin_error"  # a built-in failed, or rules contradict each other
    DRIFT = "drift"  # another policy answered than the one that was loaded
    BREAKER = "breaker"  # this call killed the engine twice; it is not tried again
    TOO_LARGE = "too_large"


class EvaluationError(PolicyError):
    """One evaluation brought no decision. The call is denied; the engine has already recovered or will.

    Args:
        code: stable machine name, recorded.
        detail: lower-case, one line, no value of the input; for the operator.
        fatal: whether this evaluation cost an engine its life.
    """

    def __init__(self, code: EvaluationCode, detail: str, *, fatal: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.fatal = fatal
