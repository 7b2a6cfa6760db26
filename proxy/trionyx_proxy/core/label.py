"""The label of a piece of information, and the lattice of labels: join, meet, flows_to, TOP, BOTTOM.

`a ⊑ b` ("a flows to b") means that whatever carries `a` may go where `b` is held: `b` is at least as
restrictive. BOTTOM is what the user said in public; TOP is whatever carries no readable label. Nothing here
lowers a label: declassification and endorsement are decisions of a person or a rule, not of the lattice.

JSON form, closed, all four members mandatory:

    {"categories":[],"integrity":"user","level":"public","readers":"*"}                    BOTTOM
    {"categories":"*","integrity":"public","level":"secret","readers":[]}                  TOP
    {"categories":["pii"],"integrity":"org","level":"internal","readers":["emma","jonas"]}

Readers `"*"` are everyone and `[]` is nobody; categories `"*"` are all there ever will be.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import orjson

MAX_NAMES: Final = 1024
"""Readers or categories in one parsed label; more is unreadable, so TOP. A group is one reader."""

MAX_NAME_CHARS: Final = 256
"""Characters of one reader or category; an e-mail address has at most 254 (RFC 5321 §4.5.3.1.3)."""

ANY_NAME: Final = "*"
"""The wildcard of the JSON form; never a name."""


class Integrity(IntEnum):
    """Who may have written it, most trusted first: user ⊑ system ⊑ org ⊑ public."""

    USER = 0
    SYSTEM = 1
    ORG = 2
    PUBLIC = 3


class Level(IntEnum):
    """How confidential it is: public ⊑ internal ⊑ secret."""

    PUBLIC = 0
    INTERNAL = 1
    SECRET = 2


EVERYONE: Final = None
"""Readers: no restriction, the bottom of the readers' order. The empty set is nobody, its top."""


class AllCategories:
    """The type of `ALL`, the one value above every finite set of categories."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ALL"


ALL: Final = AllCategories()
"""Categories: every one, also those nobody has named yet; the set of categories is open."""

Readers = frozenset[str] | None
Categories = frozenset[str] | AllCategories


@dataclass(frozen=True, slots=True)
class Label:
    """One element of the lattice integrity × level × readers × categories, ordered by restrictiveness.

    Args:
        integrity: trust in the writer; join takes the lower trust.
        level: confidentiality; join takes the higher.
        readers: who may see it, or EVERYONE; join intersects, and nobody (empty) is a proper value.
        categories: kinds of protected data in it, or ALL; join unites.
    """

    integrity: Integrity = Integrity.USER
    level: Level = Level.PUBLIC
    readers: Readers = EVERYONE
    categories: Categories = frozenset()

    def join(self, other: Label) -> Label:
        """Give the least label that both flow to: what a mixture of the two must carry."""
        if self == other:
            return self
        return Label(
            max(self.integrity, other.integrity),
            max(self.level, other.level),
            _shared_readers(self.readers, other.readers),
            _all_categories(self.categories, other.categories),
        )

    def meet(self, other: Label) -> Label:
        """Give the greatest label that flows to both: what may go to every one of several sinks."""
        return Label(
            min(self.integrity, other.integrity),
            min(self.level, other.level),
            _any_readers(self.readers, other.readers),
            _shared_categories(self.categories, other.categories),
        )

    def flows_to(self, other: Label) -> bool:
        """Tell whether information labelled `self` may go where `other` is held (`self ⊑ other`)."""
        return (
            self.integrity <= other.integrity
            and self.level <= other.level
            and (self.readers is None or (other.readers is not None and other.readers <= self.readers))
            and _categories_within(self.categories, other.categories)
        )

    def to_json(self) -> dict[str, str | list[str]]:
        """Give the JSON form, members and names sorted."""
        categories = self.categories
        return {
            "categories": ANY_NAME if isinstance(categories, AllCategories) else sorted(categories),
            "integrity": self.integrity.name.lower(),
            "level": self.level.name.lower(),
            "readers": ANY_NAME if self.readers is None else sorted(self.readers),
        }

    def encode(self) -> bytes:
        """Give the JSON form as bytes; canonical, since members are ASCII and there are no numbers."""
        return _encode(self)


BOTTOM: Final = Label()
"""What flows everywhere: trusted, public, without protected kinds of data."""

TOP: Final = Label(Integrity.PUBLIC, Level.SECRET, frozenset(), ALL)
"""What flows nowhere but to TOP: the label of everything unlabelled, unknown or unreadable."""

_INTEGRITIES: Final = {rank.name.lower(): rank for rank in Integrity}
_LEVELS: Final = {rank.name.lower(): rank for rank in Level}
_MEMBERS: Final = {"categories", "integrity", "level", "readers"}


def parse_label(value: object) -> Label:
    """Read the JSON form of a label; whatever is not exactly one label is TOP.

    Never raises and never guesses: an unknown rank, a missing, additional or ill-typed member, a repeated or
    unprintable name makes the whole label TOP, not only the member. Does not take bytes (`decode_label`).

    Args:
        value: decoded JSON, of any type.
    """
    if not isinstance(value, dict) or value.keys() != _MEMBERS:
        return TOP
    integrity, level = value["integrity"], value["level"]
    if not isinstance(integrity, str) or not isinstance(level, str):
        return TOP
    if integrity not in _INTEGRITIES or level not in _LEVELS:
        return TOP
    readers = _parse_names(value["readers"])
    categories = _parse_names(value["categories"])
    if readers is None or categories is None:
        return TOP
    return Label(
        _INTEGRITIES[integrity],
        _LEVELS[level],
        EVERYONE if isinstance(readers, str) else readers,
        ALL if isinstance(categories, str) else categories,
    )


def decode_label(data: bytes) -> Label:
    """Read a label from its canonical bytes; anything else, a repeated member included, is TOP."""
    try:
        value: object = orjson.loads(data)
        canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return TOP
    return parse_label(value) if canonical == data else TOP


def _parse_names(value: object) -> frozenset[str] | str | None:
    """Give the set of names, the wildcard, or None for anything odd."""
    if isinstance(value, str):
        return value if value == ANY_NAME else None
    if not isinstance(value, list) or len(value) > MAX_NAMES:
        return None
    names = frozenset(name for name in value if _is_name(name))
    return names if len(names) == len(value) else None


def _is_name(value: object) -> bool:
    # Unprintable covers control characters and lone surrogates, which have no UTF-8 form.
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_NAME_CHARS
        and value != ANY_NAME
        and value.isprintable()
    )


def _shared_readers(one: Readers, other: Readers) -> Readers:
    if one is None:
        return other
    return one if other is None else one & other


def _any_readers(one: Readers, other: Readers) -> Readers:
    return None if one is None or other is None else one | other


def _all_categories(one: Categories, other: Categories) -> Categories:
    if isinstance(one, AllCategories) or isinstance(other, AllCategories):
        return ALL
    return one | other


def _shared_categories(one: Categories, other: Categories) -> Categories:
    if isinstance(one, AllCategories):
        return other
    return one if isinstance(other, AllCategories) else one & other


def _categories_within(one: Categories, other: Categories) -> bool:
    if isinstance(other, AllCategories):
        return True
    return not isinstance(one, AllCategories) and one <= other


@functools.lru_cache(maxsize=256)  # a run holds a handful of labels, and each is written many times
def _encode(label: Label) -> bytes:
    return orjson.dumps(label.to_json(), option=orjson.OPT_SORT_KEYS)
