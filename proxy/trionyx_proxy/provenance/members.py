"""The names of an object's members: a server's own keys, values that the catalog describes, or anybody's text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from trionyx_proxy.arguments import REPLACEMENT
from trionyx_proxy.catalog import ArgumentType, Names
from trionyx_proxy.core.label import Label
from trionyx_proxy.provenance.origin import Leaf
from trionyx_proxy.provenance.values import normal

MAX_KEYS = 32
"""Member names that the catalog does not know and that are shown all the same; with more, none of them is."""

Place = tuple[int, str | int]
"""The container that a value or member name lies in, by identity, and where in it."""

_KEY = re.compile(r"[A-Za-z0-9_]+")
_KEY_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_Name = tuple[str, Place, str]


class MemberNames:
    """Collects the member names of one document that the catalog does not spell out.

    Args:
        is_public: whatever the catalog says, anybody may have written the document.
        untrusted: label of a name that nothing vouches for.
    """

    def __init__(self, is_public: bool, untrusted: Label) -> None:
        self._is_public = is_public
        self._label = untrusted
        self._names: list[_Name] = []
        self._keys: list[_Name] = []
        self._odd: list[_Name] = []
        self.leaves: list[Leaf] = []
        self.places: list[Place] = []

    def described(self, name: str, place: Place, pointer: str, names: Names | None) -> None:
        """Note a name in a place that stands for every member; where `names` says what it is, it is a value itself.

        A name that does not fit what it is said to be was chosen by anybody.
        """
        is_lost = REPLACEMENT in name
        read = None if names is None or self._is_public or is_lost else normal(names.type, name)
        if names is None or read is None:
            self._names.append((name, place, pointer))
        else:
            self.leaves.append(Leaf(pointer, name, names.type, names.label))
            self.places.append(place)

    def unknown(self, name: str, place: Place, pointer: str) -> None:
        """Note a name in a place of which the catalog says nothing."""
        (self._keys if _is_key(name) else self._odd).append((name, place, pointer))

    def untrusted(self, *, is_all_public: bool) -> Iterator[tuple[list[Leaf], list[Place]]]:
        """Yield the names that anybody may have chosen, and where they are.

        Args:
            is_all_public: what the catalog does not describe is anybody's: many keys are a text, too.
        """
        yield self._labelled(ArgumentType.NAME, self._names)
        yield self._labelled(ArgumentType.TEXT, self._odd)
        if is_all_public and len({key for key, _, _ in self._keys}) > MAX_KEYS:
            yield self._labelled(ArgumentType.TEXT, self._keys)

    def _labelled(self, kind: ArgumentType, names: list[_Name]) -> tuple[list[Leaf], list[Place]]:
        leaves = [Leaf(pointer, name, kind, self._label) for name, _, pointer in names]
        return leaves, [place for _, place, _ in names]


def _is_key(name: str) -> bool:
    """Whether a member name looks like a programmer's, not like a text: at most four words, run together."""
    return len(name) <= 40 and _KEY.fullmatch(name) is not None and len(_KEY_WORD.findall(name)) <= 4
