"""What a run tells its watcher: events as values, as JSON lines and as text for a terminal.

Events are a transcript, not evidence: the proxy's signed log is what counts, and it is written elsewhere.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a run is over."""

    COMPLETED = "completed"
    MAX_TURNS = "max_turns"
    MAX_BUDGET = "max_budget"
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class Prompted:
    """The run begins: who is asked what.

    Args:
        run: the proxy's run id, or "" without a proxy.
        definition_sha256: hex digest of the definition file.
    """

    run: str
    agent: str
    model: str
    definition_sha256: str
    prompt: str


@dataclass(frozen=True, slots=True)
class Started:
    """The runtime is up and has passed its self-check; `tools` are all the model is offered, sorted."""

    model: str
    tools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Said:
    """The model said something."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """The model asked for a tool; whether the call was carried out is told by `Answered`.

    Args:
        call: the model API's tool-use id; the proxy records it too.
        tool: the name without the runtime's prefix, `mail__send`.
    """

    call: str
    tool: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Answered:
    """What the model was given for a call; `error` holds for refusals and for failures of the tool."""

    call: str
    tool: str
    error: bool
    text: str


@dataclass(frozen=True, slots=True)
class Retried:
    """The model's API failed and the runtime tries again.

    Args:
        status: HTTP status, or 0 if there was no answer.
        delay_ms: how long it waits before.
    """

    attempt: int
    status: int
    error: str
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over.

    Args:
        detail: one line on what went wrong, or "".
        turns: model turns taken.
        cost_usd: the runtime's own estimate, or None.
    """

    reason: Reason
    detail: str
    turns: int
    duration_ms: int
    cost_usd: float | None = None


Event = Prompted | Started | Said | Called | Answered | Retried | Ended

_NAMES: Mapping[type[Event], str] = {
    Prompted: "prompted",
    Started: "started",
    Said: "said",
    Called: "called",
    Answered: "answered",
    Retried: "retried",
    Ended: "ended",
}


def as_json(event: Event) -> str:
    """One JSON object on one line, ASCII only, the event's name under `event`."""
    return json.dumps({"event": _NAMES[type(event)], **asdict(event)}, ensure_ascii=True, sort_keys=False)


def as_text(event: Event, *, width: int = 100) -> str:
    """One or more lines for a terminal; control characters of tools and models are made visible.

    Long texts are cut: the transcript holds them whole.
    """
    match event:
        case Prompted(run=run, agent=agent, model=model):
            return f"▸ {agent} on {printable(model)}" + (f", run {run}" if run else "")
        case Started(tools=tools):
            return _paragraph("  tools: ", ", ".join(tools), width)
        case Said(text):
            return _paragraph("  ", text, width, limit=4000)
        case Called(tool=tool, arguments=arguments):
            return _paragraph(f"→ {printable(tool)} ", json.dumps(arguments, ensure_ascii=False), width)
        case Answered(error=error, text=text):
            return _paragraph("✗ " if error else "← ", text, width)
        case Retried(attempt, status, error, delay_ms):
            return (
                f"… model API: {printable(error)} ({status or 'no answer'}), attempt {attempt} failed, "
                + (f"next in {delay_ms / 1000:.1f} s")
            )
        case Ended(reason, detail, turns, duration_ms, cost):
            spent = f", about ${cost:.4f}" if cost else ""
            end = f"▪ {reason.value} after {turns} turns, {duration_ms / 1000:.1f} s{spent}"
            return end + (f": {printable(detail)}" if detail else "")


def printable(text: str) -> str:
    """Replace each control, format or other unprintable character but line ends by a visible escape."""
    return "".join(
        character
        if character.isprintable() or character == "\n"
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )


def _paragraph(mark: str, text: str, width: int, limit: int = 600) -> str:
    shown = printable(text if len(text) <= limit else f"{text[:limit]} … ({len(text)} characters)")
    indent = " " * len(mark) if len(mark) <= 4 else "    "
    lines = [
        line
        for paragraph in shown.splitlines() or [""]
        for line in textwrap.wrap(paragraph, width - len(indent), break_on_hyphens=False) or [""]
    ]
    first, *rest = lines
    return "\n".join((mark + first, *(indent + line for line in rest)))
