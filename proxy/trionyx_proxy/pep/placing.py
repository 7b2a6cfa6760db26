"""Text put in the places of handles: whole arguments, and tokens within a text that is content.

What comes out is what is decided, recorded and sent. Who may be sent a hidden text is the policy's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from trionyx_proxy.arguments import ARGUMENTS, JSON, canonical, pointer
from trionyx_proxy.catalog import Argument, ArgumentType, Role, ToolEntry
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.facts.call import Path
from trionyx_proxy.provenance import TOKEN, Handles, Hidden
from trionyx_proxy.provenance.values import MAX_VALUE_CHARS

_REFERENCE: Final = "$trx"
_MAX_ESCAPE: Final = 6
"""Bytes of the canonical form for one byte of a text at most (RFC 8785, section 3.2.2.2)."""

_CONTENT: Final = frozenset({Role.CONTENT, Role.TITLE, Role.PLAIN})


@dataclass(frozen=True, slots=True)
class Resolved:
    """Arguments with the text behind their handles in place.

    Args:
        arguments: what is decided, recorded and sent.
        handled: what was put in, by the place of the argument.
        lengths: how many characters a text that was put in, or put together, has at least and at most as far as the
            agent can tell.
    """

    arguments: JSON
    handled: Mapping[Path, Hidden] = field(default_factory=dict)
    lengths: Mapping[Path, tuple[int, int]] = field(default_factory=dict)


def _unmeasured(handle: str) -> bool:
    return False


def resolve(
    arguments: JSON,
    entry: ToolEntry,
    handles: Handles,
    *,
    in_content_only: bool = False,
    is_measured: Callable[[str], bool] = _unmeasured,
) -> Resolved:
    """Put the text behind each handle in its place.

    A handle is a whole argument, as its token or as `{"$trx": "h…"}`; tokens within a longer text are replaced
    where the argument is content. A tool of the proxy's own takes the handle itself, or a text as content: what it
    answers to a choice or a bound of an unread text would tell that text.

    Args:
        arguments: as received.
        entry: the tool.
        handles: of the run.
        in_content_only: the tool is the proxy's own.
        is_measured: whether the agent was told the size of what a handle stands for.

    Raises:
        ArgumentError: a handle stands where none may, there is no such handle in this run, what it stands for is no
            text, or it is too much.
    """
    placing = _Placing(arguments, entry, handles, in_content_only, is_measured)
    return Resolved(placing.placed(arguments, (), ()), placing.handled, placing.lengths)


class _Placing:
    """One call's arguments on the way.

    INVARIANT: with the texts that it is given, a call's arguments are no larger than they may be, however the texts are
    written; a text that is named many times would otherwise fill the memory before anything measured it.
    """

    def __init__(
        self,
        arguments: JSON,
        entry: ToolEntry,
        handles: Handles,
        in_content_only: bool,
        is_measured: Callable[[str], bool],
    ) -> None:
        self._arguments = arguments
        self._entry = entry
        self._in_content_only = in_content_only
        self._handles = handles
        self._left: int | None = None
        self._is_measured = is_measured
        self.handled: dict[Path, Hidden] = {}
        self.lengths: dict[Path, tuple[int, int]] = {}

    def placed(self, value: JSON, path: Path, shape: tuple[str | None, ...]) -> JSON:
        """Return a value with the texts in it."""
        argument = self._entry.arguments.get(shape)
        if argument is not None and argument.type is ArgumentType.HANDLE:
            return value
        match value:
            case dict() if value.keys() == {_REFERENCE}:
                self._check(argument, path)
                return self._text(value[_REFERENCE], path)
            case dict():
                return {
                    name: self.placed(member, (*path, name), (*shape, name)) for name, member in value.items()
                }
            case list():
                return [
                    self.placed(element, (*path, position), (*shape, None))
                    for position, element in enumerate(value)
                ]
            case str() if TOKEN.fullmatch(value):
                self._check(argument, path)
                return self._text(value, path)
            case str() if argument is not None and argument.role in _CONTENT and TOKEN.search(value):
                self._check(argument, path)
                known = len(TOKEN.sub("", value))
                self.lengths[path] = known, known
                return TOKEN.sub(lambda token: self._text(token[0], path), value)
            case _:
                return value

    def _check(self, argument: Argument | None, path: Path) -> None:
        if self._in_content_only and (argument is None or argument.role is not Role.CONTENT):
            raise ArgumentError("handle", pointer(path), "takes no handle")

    def _text(self, handle: JSON, path: Path) -> str:
        hidden = self._handles.find(handle) if isinstance(handle, str) else None
        if hidden is None:
            raise ArgumentError("handle", pointer(path), "no such handle in this run")
        if not isinstance(hidden.content, str):
            raise ArgumentError("handle", pointer(path), "the handle stands for something else than text")
        # By what the agent knows of it alone: the limit must not tell how many characters of it need escapes.
        size = hidden.size
        if not self._is_measured(hidden.handle):
            size = MAX_VALUE_CHARS if size <= MAX_VALUE_CHARS else ARGUMENTS.max_string_bytes
        if self._left is None:
            self._left = ARGUMENTS.max_bytes - len(canonical(self._arguments))
        self._left -= _MAX_ESCAPE * size
        if self._left < 0:
            raise ArgumentError("too_large", pointer(path), "too many bytes")
        self.handled[path] = hidden
        fewest, most = self.lengths.get(path, (0, 0))
        # The size is in bytes, of which a character has up to four.
        if self._is_measured(hidden.handle):
            fewest, most = fewest + -(-hidden.size // 4), most + hidden.size
        else:
            fewest, most = fewest + 1, most + ARGUMENTS.max_string_bytes
        self.lengths[path] = fewest, min(most, ARGUMENTS.max_string_bytes)
        return hidden.content
