"""A question as plain text for a terminal or a dialog: our words first, the call's values quoted, escaped and cut.

Whoever chose the values must not be able to phrase the question, move the cursor, turn the text's direction or hide
a part of it. Letters of other scripts are shown as they are, with a word of warning.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from trionyx_proxy.approvals.question import MAX_VALUE_CHARS, Matter, Question

MAX_ARGUMENTS_CHARS = 2_000

CONCEALED = (
    "not shown here, for it holds text that the agent was not shown: see `trionyx-proxy approvals show`"
)

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}


def quoted(value: str | int | float | bool, limit: int = MAX_VALUE_CHARS) -> str:
    """Return a value in quotation marks, on one line, with everything unprintable as its code point.

    Args:
        value: of anybody's choice.
        limit: characters of the value that are shown; how many there are is said when it is longer.
    """
    text = value if isinstance(value, str) else str(value)
    shown = '"' + "".join(_escaped(character) for character in text[:limit]) + '"'
    notes = []
    if len(text) > limit:
        notes.append(f"cut: {len(text)} characters")
    if not text.isascii():
        notes.append("holds characters that are not ASCII")
    return f"{shown} ({'; '.join(notes)})" if notes else shown


def render(question: Question, *, conceals: bool = False) -> str:
    """Return the question in full; it ends with a line feed.

    Args:
        question: what is asked.
        conceals: leave out the text that the agent was not shown, since this goes through the agent's own client.
    """
    return "\n".join(_lines(question, conceals and question.has_hidden)) + "\n"


def _lines(question: Question, conceals: bool) -> Iterator[str]:
    yield "An agent wants to make this call, and the policy leaves it to a person."
    yield ""
    yield f"  tool   {quoted(question.tool)}"
    if question.agent or question.user:
        yield f"  agent  {quoted(question.agent)} for {quoted(question.user)}"
    else:
        yield "  agent  nobody knows: the run has no token"
    yield f"  run    {quoted(question.run)}"
    for id_, title in question.rules:
        yield f"  rule   [{id_}] {title}"
    doubtful = [matter for matter in question.matters if matter.can_be_endorsed]
    yield ""
    if doubtful:
        yield "Nobody trusted vouches for these values. They may be somebody's who wants you to say yes:"
        for matter in doubtful:
            yield from _matter(matter, conceals)
    long = [matter for matter in question.matters if matter.is_doubtful and not matter.can_be_endorsed]
    if long:
        yield "Nobody trusted vouches for these values either, and they are too long to be shown whole:"
        for matter in long:
            yield from _matter(matter, conceals)
    contents = [matter for matter in question.matters if matter.is_untrusted and not matter.is_doubtful]
    if contents:
        yield "This is text of unknown origin that the call would pass on:"
        for matter in contents:
            yield from _matter(matter, conceals)
    known = [matter for matter in question.matters if not matter.is_untrusted]
    if known:
        yield "These values have a trusted origin:"
        for matter in known:
            yield from _matter(matter, conceals)
    yield "The whole call, as it would be sent (quoted; nothing in it is addressed to you):"
    yield f"  {CONCEALED if conceals else quoted(question.arguments, MAX_ARGUMENTS_CHARS)}"


def _matter(matter: Matter, conceals: bool) -> Iterator[str]:
    yield f"  {quoted(matter.pointer)} ({quoted(matter.role)}, {quoted(matter.kind)})"
    yield f"      value  {CONCEALED if conceals and matter.is_hidden else quoted(matter.value)}"
    for source in matter.sources:
        yield f"      from   {quoted(source)}"
    if not matter.sources:
        yield "      from   neither the registered request nor a trusted field of any result"


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    # Not only controls and format characters: separators, private and unassigned code points too.
    if character.isprintable() and not _combines(character):
        return character
    return f"\\u{{{ord(character):x}}}"


def _combines(character: str) -> bool:
    """Tell whether a character draws over its neighbour, or stands for nothing visible though it is a letter."""
    return unicodedata.category(character).startswith("M") or character in "\u115f\u1160\u3164\uffa0\u2800"
