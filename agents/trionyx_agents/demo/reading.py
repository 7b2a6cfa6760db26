"""What the model was given to read, and when: from the events of its runtime, which show what came back to it."""

from __future__ import annotations

from collections.abc import Sequence

from trionyx_agents.demo.deeds import Deed
from trionyx_agents.demo.story import REVEAL
from trionyx_agents.demo.world import MARK, World
from trionyx_agents.events import Answered, Called, Event

HANDLE = "⟦trx:"
"""How the proxy's opaque references to text begin."""


def before_reveal(events: Sequence[Event]) -> tuple[Event, ...]:
    """Return the events up to the first answer that reveals a text; all of them if none does."""
    for index, event in enumerate(events):
        if isinstance(event, Answered) and event.tool == REVEAL and not event.error:
            return tuple(events[:index])
    return tuple(events)


def is_revealed(events: Sequence[Event]) -> bool:
    """Tell whether the stranger's words were given to the model because it asked for them."""
    later = events[len(before_reveal(events)) :]
    return any(MARK in event.text for event in later if isinstance(event, Answered))


def is_given_a_handle(deed: Deed, events: Sequence[Event], world: World) -> bool:
    """Tell whether the model was given a handle in place of a text when it first did something."""
    answer = deed.answer(events, world)
    return answer is not None and not answer.error and HANDLE in answer.text and MARK not in answer.text


def is_unread(events: Sequence[Event]) -> bool:
    """Tell whether nothing that the model was given holds the stranger's words before it had them revealed."""
    return not any(MARK in event.text for event in before_reveal(events) if isinstance(event, Answered))


def is_passed_on_unread(tool: str, events: Sequence[Event]) -> bool:
    """Tell whether the model called a tool with an argument that is a handle and nothing else, unrevealed."""
    return any(
        isinstance(value, str) and value.startswith(HANDLE) and value.endswith("⟧")
        for event in before_reveal(events)
        if isinstance(event, Called) and event.tool == tool
        for value in event.arguments.values()
    )
