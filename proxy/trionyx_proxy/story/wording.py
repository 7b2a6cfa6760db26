"""Labels in words."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from trionyx_proxy.core.label import ALL, EVERYONE, AllCategories, Integrity, Label, Level
from trionyx_proxy.story.plaintext import name

MAX_NAMES: Final = 8
PARTS: Final = ("integrity", "level", "readers", "categories")

_INTEGRITY: Final = {
    Integrity.USER: "only the user's own words",
    Integrity.SYSTEM: "what the user or the system wrote",
    Integrity.ORG: "the organisation's own text",
    Integrity.PUBLIC: "text that anybody may have written",
}


def label_words(label: Label, parts: Collection[str] = PARTS) -> str:
    """Say what a run with this label has seen; of some parts of the label, if only those matter."""
    words: list[str] = []
    if "integrity" in parts:
        words.append(_INTEGRITY[label.integrity])
    if "level" in parts:
        words.append(
            {Level.PUBLIC: "nothing confidential"}.get(label.level, f"{label.level.name.lower()} data")
        )
    if "readers" in parts and label.readers is not EVERYONE:
        readers = _names(label.readers)
        words.append(f"what only {readers} may read" if label.readers else "what nobody may read")
    if "categories" in parts and label.categories:
        words.append(_categories(label))
    return _listed(words)


def _categories(label: Label) -> str:
    if isinstance(label.categories, AllCategories):
        return "data of every category"
    return f"data of the categories {_names(label.categories)}"


def sink_words(sink: Label) -> str:
    """Say what may flow to where this label is held: for readers, those who will read it there."""
    words = [
        "text of any origin" if sink.integrity is Integrity.PUBLIC else _INTEGRITY[sink.integrity],
        "data of any level"
        if sink.level is Level.SECRET
        else f"data up to the level {sink.level.name.lower()}",
    ]
    if sink.readers is EVERYONE:
        words.append("nothing that only some may read")
    elif sink.readers:
        words.append(f"what {_names(sink.readers)} may read")
    if sink.categories is not ALL:
        words.append(
            f"{_categories(sink)} and no others" if sink.categories else "data of no protected category"
        )
    return _listed(words)


def _listed(words: list[str]) -> str:
    return (
        words[0]
        if len(words) == 1
        else f"{', '.join(words[:-1])} and {words[-1]}"
        if words
        else "nothing more"
    )


def _names(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - MAX_NAMES} more" if len(ordered) > MAX_NAMES else ""
    return " and ".join(name(one) for one in ordered[:MAX_NAMES]) + more
