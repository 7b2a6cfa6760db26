"""The proxy's own tools: reading what lies behind a handle, wholly or a few bits of it.

They are decided, recorded and labelled like any other tool; only their upstream is this module. They carry out no
effect outside the proxy, and take no value from an agent for more trustworthy than it is.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Final

import orjson

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.core.request import Failure
from trionyx_proxy.pep.ledger import Ledger
from trionyx_proxy.pep.upstream import OnProgress
from trionyx_proxy.provenance import Budget, Hidden, Reading, normal
from trionyx_proxy.provenance.budget import bits
from trionyx_proxy.provenance.mentions import in_order
from trionyx_proxy.provenance.values import MAX_VALUE_CHARS

NAMING: Final = {
    "email": ArgumentType.EMAIL,
    "iban": ArgumentType.IBAN,
    "phone": ArgumentType.PHONE,
    "url": ArgumentType.URL,
}
"""What names somebody or something: extracted as another handle, never endorsed."""

MAX_VALUES: Final = 64
MAX_NUMBER: Final = 10**15

_HANDLE: Final = {
    "type": "string",
    "description": "A handle such as ⟦trx:h7k2…:/0/body:412B⟧, or its id.",
    "maxLength": 256,
}
DESCRIPTORS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "trionyx_reveal",
        "description": (
            "Show the text behind a handle. Results show text of unknown writers as handles ⟦trx:…⟧; a handle can be "
            "passed on as a whole argument without being shown. Reveal only what you must read: later calls may "
            "then be refused."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {"handle": _HANDLE},
            "required": ["handle"],
            "additionalProperties": False,
        },
    },
    {
        "name": "trionyx_extract",
        "description": (
            "Take one value out of the text behind a handle without reading it: a number, date or one of given "
            "values is shown; an email, url, iban or phone becomes another handle."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "handle": _HANDLE,
                "type": {"enum": ["integer", "decimal", "date", "enum", *sorted(NAMING)]},
                "minimum": {"type": "string", "maxLength": 32, "description": "Least number or date."},
                "maximum": {"type": "string", "maxLength": 32, "description": "Greatest number or date."},
                "values": {
                    "type": "array",
                    "items": {"type": "string", "maxLength": 256},
                    "maxItems": MAX_VALUES,
                    "description": "For enum: the values to look for.",
                },
                "which": {"type": "integer", "minimum": 1, "maximum": 100, "default": 1},
            },
            "required": ["handle", "type"],
            "additionalProperties": False,
        },
    },
    {
        "name": "trionyx_compare",
        "description": "Tell whether the text behind a handle equals, contains or starts with a text.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "handle": _HANDLE,
                "op": {"enum": ["equals", "contains", "starts_with"]},
                "constant": {"type": "string", "maxLength": 1024},
            },
            "required": ["handle", "op", "constant"],
            "additionalProperties": False,
        },
    },
)


class _Unanswerable(Exception):
    """There is no answer; the text is the host's own and holds nothing of the hidden text."""


class NativeTools:
    """Answers the calls of the proxy's own tools; in the driver's eyes an upstream.

    INVARIANT: an extracted value is endorsed only while the run has been shown no untrusted text. After that the agent
    may be choosing bounds and candidates for whoever wrote the text.

    Args:
        ledger: holds what is behind handles.
        budget: bits that may still be extracted.
        is_tainted: whether the run has been shown untrusted text.

    """

    def __init__(self, ledger: Ledger, budget: Budget, is_tainted: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._budget = budget
        self._is_tainted = is_tainted

    async def call(
        self, name: str, arguments: bytes, *, timeout_s: float, on_progress: OnProgress | None
    ) -> Reading | Failure:
        """Answer one decided call, at once; what cannot be answered is a tool error in the host's words."""
        given: dict[str, Any] = orjson.loads(arguments)
        hidden = self._ledger.handles.find(given["handle"])
        try:
            if hidden is None:
                raise _Unanswerable("no such handle in this run")
            match name:
                case "trionyx_reveal":
                    return _revealed(hidden)
                case "trionyx_compare":
                    return self._compared(hidden, given)
                case _:
                    return self._extracted(hidden, given)
        except _Unanswerable as error:
            return Reading(_result({"error": str(error)}, is_error=True), BOTTOM, (), ())

    def recharge(self, name: str, arguments: bytes) -> None:
        """Charge again what an earlier process of the run was charged for a call."""
        given: dict[str, Any] = orjson.loads(arguments)
        with suppress(_Unanswerable):
            match name:
                case "trionyx_compare":
                    self._charge(1)
                case "trionyx_extract":
                    self._charge(self._cost(given))

    def _compared(self, hidden: Hidden, given: Mapping[str, Any]) -> Reading:
        text, value = _text(hidden).casefold(), given["constant"].casefold()
        self._charge(1)
        match given["op"]:
            case "equals":
                holds = text.strip() == value.strip()
            case "contains":
                holds = value in text
            case _:
                holds = text.startswith(value)
        return self._shown(hidden, ArgumentType.BOOLEAN, holds)

    def _extracted(self, hidden: Hidden, given: Mapping[str, Any]) -> Reading:
        text, which = _text(hidden), given["which"] - 1
        kind = given["type"]
        self._charge(self._cost(given))
        if kind in NAMING:
            # Where the limit on arguments counts it, a longer one would tell that it is longer.
            named = [
                value for value in in_order(NAMING[kind], text) if len(value.encode()) <= MAX_VALUE_CHARS
            ]
            if which >= len(named):
                raise _Unanswerable(f"the text holds no such {kind}")
            part = Hidden(
                self._ledger.handles.mint(), hidden.pointer, NAMING[kind], hidden.label, named[which]
            )
            return Reading(
                # Without place and size: how long an address is would be told for nothing.
                _result({"handle": f"\u27e6trx:{part.handle}\u27e7"}),
                Label(Integrity.USER, hidden.label.level, hidden.label.readers, hidden.label.categories),
                (),
                (part,),
            )
        if kind == "enum":
            return self._enumerated(hidden, text, given.get("values", []))
        return self._measured(hidden, text, kind, which, given)

    def _enumerated(self, hidden: Hidden, text: str, values: list[str]) -> Reading:
        folded = text.casefold()
        held = [value for value in values if _has_word(folded, value.casefold())]
        if len(held) != 1:
            raise _Unanswerable(f"the text holds {'several' if held else 'none'} of the values")
        return self._shown(hidden, ArgumentType.ENUM, held[0])

    def _measured(
        self, hidden: Hidden, text: str, kind: str, which: int, given: Mapping[str, Any]
    ) -> Reading:
        least, greatest = _bounds(kind, given)
        type_ = {"integer": ArgumentType.INTEGER, "decimal": ArgumentType.AMOUNT}.get(kind, ArgumentType.DATE)
        fitting = [
            (written, size)
            for written in in_order(type_, text)
            if (size := _size(kind, written)) is not None and least <= size <= greatest
        ]
        if which >= len(fitting):
            raise _Unanswerable(f"the text holds no such {kind} within the bounds")
        written, size = fitting[which]
        shown = (
            int(size)
            if kind == "integer"
            else str(size.quantize(Decimal("0.01")))
            if kind == "decimal"
            else written
        )
        return self._shown(hidden, type_, shown)

    def _cost(self, given: Mapping[str, Any]) -> float:
        """Return the bits that the answer to a question tells at most, "there is none" among the answers."""
        kind = given["type"]
        if kind in NAMING:
            return 1
        if kind == "enum":
            if not given.get("values"):
                raise _Unanswerable("an enum needs the values to look for")
            values = len(set(given["values"]))
            return bits(values + 2 if values > 1 else 2)  # or several of them, or none
        least, greatest = _bounds(kind, given)
        # Decimals are counted in hundredths.
        return bits(int((greatest - least) * (100 if kind == "decimal" else 1)) + 2)

    def _charge(self, cost: float) -> None:
        """Take bits from the budget before anything is looked at: an answer that there is none tells something, too."""
        if not self._budget.charge(cost):
            raise _Unanswerable("the run may extract no more; reveal the text, or ask for less")

    def _shown(self, hidden: Hidden, kind: ArgumentType, value: str | int | bool) -> Reading:
        # A choice is a name that the agent gave: it has an origin of its own, or none.
        if not self._is_tainted() and kind not in (ArgumentType.ENUM, ArgumentType.BOOLEAN):
            self._ledger.extracted(hidden, kind, value)
        source = hidden.label
        shown = Label(Integrity.USER, source.level, source.readers, source.categories)
        return Reading(_result({"value": value}), shown, (), ())


def _revealed(hidden: Hidden) -> Reading:
    if isinstance(hidden.content, str):
        result = _result({"text": hidden.content})
    else:
        result = {"content": [dict(hidden.content)], "isError": False, "resultType": "complete"}
    return Reading(result, hidden.label, (), ())


def _text(hidden: Hidden) -> str:
    if not isinstance(hidden.content, str):
        raise _Unanswerable("the handle stands for something else than text")
    return hidden.content


def _result(value: Mapping[str, Any], *, is_error: bool = False) -> dict[str, Any]:
    (shown,) = value.values()
    text = shown if isinstance(shown, str) else orjson.dumps(shown).decode()
    result: dict[str, Any] = {
        "content": [{"text": text, "type": "text"}],
        "isError": is_error,
        "resultType": "complete",
    }
    return result if is_error else result | {"structuredContent": dict(value)}


def _has_word(text: str, value: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is not None


def _bounds(kind: str, given: Mapping[str, Any]) -> tuple[Decimal, Decimal]:
    least, greatest = (_bound(kind, given.get(name)) for name in ("minimum", "maximum"))
    if greatest < least:
        raise _Unanswerable("the maximum is below the minimum")
    return least, greatest


def _bound(kind: str, given: str | None) -> Decimal:
    size = _size(kind, given) if given is not None else None
    if size is None or abs(size) > MAX_NUMBER:
        raise _Unanswerable("both bounds are needed, as plain numbers or as dates like 2026-11-21")
    return size


def _size(kind: str, text: str) -> Decimal | None:
    """Give a number's value, or a date's day number; None for anything else."""
    if kind == "date":
        day = normal(ArgumentType.DATE, text)
        try:
            return None if day is None else Decimal(datetime.date.fromisoformat(day[:10]).toordinal())
        except ValueError:
            return None
    amount = normal(ArgumentType.AMOUNT, text)
    if amount is None:
        return None
    size = Decimal(amount)
    return size if kind == "decimal" or size == size.to_integral_value() else None
