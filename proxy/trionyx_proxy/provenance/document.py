"""The document that a tool's result holds, in whichever of the protocol's forms it came, and its way back.

Source: MCP 2026-07-28, server/tools, `CallToolResult`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trionyx_proxy.arguments import JSON, Limits, canonical, parse
from trionyx_proxy.errors import ArgumentError

_TEXT_LIMITS = Limits(
    max_bytes=4 << 20, max_depth=64, max_string_bytes=4 << 20, max_key_bytes=1024, max_nodes=200_000
)
"""For JSON inside a text block; what exceeds them is text."""

_JSON_START = frozenset('{["-0123456789tf')


@dataclass(frozen=True, slots=True)
class ResultDocument:
    """What of a result is read as one value, and what beside it.

    Args:
        value: the document; None if there is none.
        is_structured: it was `structuredContent`.
        is_wrapped: it was the lone member `result` of it.
        is_text: it is the text of the only block, as it stands.
        is_string: it was JSON inside the string that was wrapped.
        besides: text blocks that say something else than the document.
        blocks: content that is no text.
    """

    value: JSON
    is_structured: bool
    is_wrapped: bool
    is_text: bool
    is_string: bool
    besides: tuple[str, ...]
    blocks: tuple[dict[str, Any], ...]

    def result(
        self,
        original: Mapping[str, Any],
        value: JSON,
        besides: Sequence[str],
        blocks: Sequence[dict[str, Any]],
    ) -> dict[str, Any]:
        """Return a result that says this instead: one text block, the same structured content, other blocks.

        Args:
            original: gives the members that are not content.
            value: in the place of the document.
            besides: in the place of `besides`.
            blocks: in the place of `blocks`.
        """
        texts: list[str] = []
        if value is not None:
            is_plain = self.is_text or self.is_wrapped
            texts.append(value if is_plain and isinstance(value, str) else canonical(value).decode())
        texts.extend(besides)
        changed = dict(original)
        changed["content"] = [*({"type": "text", "text": text} for text in texts), *blocks]
        if self.is_structured:
            if self.is_string and not isinstance(value, str):
                value = canonical(value).decode()
            changed["structuredContent"] = {"result": value} if self.is_wrapped else value
            if not self.is_wrapped and not isinstance(value, dict):
                del changed["structuredContent"]  # it is an object or it is not there
        return changed


def read_document(result: Mapping[str, Any], *, is_text: bool = False) -> ResultDocument:
    """Take a cleaned result apart; an odd one has no document and only texts beside it.

    Args:
        result: cleaned.
        is_text: its texts are texts, and no JSON.
    """
    content = result.get("content")
    items = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    texts = [block["text"] for block in items if _is_text(block)]
    blocks = tuple(block for block in items if not _is_text(block))
    read = str if is_text else _parsed
    structured = result.get("structuredContent")
    if isinstance(structured, dict):
        is_wrapped = structured.keys() == {"result"}
        value: JSON = structured["result"] if is_wrapped else structured
        besides = () if _says_the_same(texts, value, structured) else tuple(texts)
        inner = read(value) if is_wrapped and isinstance(value, str) else value
        return ResultDocument(inner, True, is_wrapped, False, inner is not value, besides, blocks)
    if not texts:
        return ResultDocument(None, False, False, False, False, (), blocks)
    if len(texts) > 1:
        return ResultDocument([read(text) for text in texts], False, False, False, False, (), blocks)
    value = read(texts[0])
    return ResultDocument(value, False, False, value is texts[0], False, (), blocks)


Tokens = Mapping[int, Mapping[str | int, str]]
"""By the identity of a container, what stands in the places in it."""


def by_container(tokens: Mapping[tuple[int, str | int], str]) -> Tokens:
    """Sort tokens by the container that each stands in."""
    found: dict[int, dict[str | int, str]] = {}
    for (here, key), token in tokens.items():
        found.setdefault(here, {})[key] = token
    return found


def rewritten(value: JSON, tokens: Tokens, names: Tokens) -> JSON:
    """Return a copy of a document with tokens in the places of values and of member names."""
    if isinstance(value, dict):
        mine = tokens.get(id(value), {})
        members: dict[Any, JSON] = {**value, **mine}
        for name, member in value.items():
            if isinstance(member, dict | list) and name not in mine:
                members[name] = rewritten(member, tokens, names)
        renamed = names.get(id(value))
        return {renamed.get(name, name): member for name, member in members.items()} if renamed else members
    if isinstance(value, list):
        mine = tokens.get(id(value), {})
        return [
            mine[position] if position in mine else rewritten(element, tokens, names)
            for position, element in enumerate(value)
        ]
    return value


def _is_text(block: Mapping[str, Any]) -> bool:
    return block.get("type") == "text" and isinstance(block.get("text"), str)


def _parsed(text: str) -> JSON:
    """Return what a text is as JSON, or the text itself where it has no single reading as such.

    A string in it that cannot be read is mended: it does not take the rest of the document away.
    """
    if text.lstrip()[:1] not in _JSON_START or not text.strip():
        return text
    try:
        return parse(text.encode("utf-8", "surrogatepass"), _TEXT_LIMITS, mends_text=True)
    except ArgumentError:
        return text


def _says_the_same(texts: list[str], value: JSON, structured: JSON) -> bool:
    """Whether the text blocks only repeat the structured content, as the protocol wants it."""
    if not texts:
        return True
    if len(texts) == 1 and (texts[0] == value or _is_same(_parsed(texts[0]), (value, structured))):
        return True
    if isinstance(value, list) and len(value) == len(texts):
        return all(
            text == element or _is_same(_parsed(text), (element,))
            for text, element in zip(texts, value, strict=True)
        )
    return False


def _is_same(parsed: JSON, values: tuple[JSON, ...]) -> bool:
    # Python's equality takes `true` for 1.
    return any(parsed == value and canonical(parsed) == canonical(value) for value in values)
