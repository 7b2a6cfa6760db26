"""Policy engines behind one protocol: bytes in, the answer's bytes out, or an error code; never an allow.

An engine neither parses the answer nor computes an effect; that is `trionyx_policies.point`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to evaluate.

    Args:
        kind: `wasm` (in process, sandboxed) or `opa` (a supervised OPA server child).
        deadline_ms: hard limit of one decision, 10 to 60,000 ms; then the evaluation is killed.
        memory_mb: what an evaluation may use, 8 to 4,096 MiB; for `opa`, beyond the idle server.
        opa_command: the OPA executable, for `opa`; None searches PATH and the cache of `trionyx-policy`.
    """

    kind: Literal["wasm", "opa"] = "wasm"
    deadline_ms: int = 250
    memory_mb: int = 64
    opa_command: Path | None = None


class Engine(Protocol):
    """Evaluates the entrypoint of one bundle.

    An engine may be asked by several tasks of one event loop at once; it never blocks the loop for more than a few
    milliseconds.
    """

    def evaluate_now(self, document: bytes) -> bytes | None:
        """Evaluate one input document at once, if that can be done; None says to use `evaluate`.

        Must be called on the event loop. Arguments, answer and errors are those of `evaluate`.
        """
        ...

    async def evaluate(self, document: bytes) -> bytes:
        """Evaluate one input document.

        Args:
            document: canonical JSON, `trionyx.input/v1`.

        Returns:
            The answer document's JSON text, unchecked.

        Raises:
            EvaluationError: no answer; within the deadline, give or take a scheduling delay.
        """
        ...

    async def aclose(self) -> None:
        """Stop everything the engine started; further evaluations are errors."""
        ...
