"""The answer of an engine, parsed strictly into values: closed shape, known rules, the manifest's packs.

Knows nothing of effects: what an answer means is computed in `trionyx_policies.effect`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, cast

from trionyx_policies.decision import Obligation, Rule
from trionyx_policies.document import DocumentError, DuplicateKeyError, Json, canonical, parse
from trionyx_policies.errors import EvaluationCode, EvaluationError
from trionyx_policies.schema import DECISION

_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What the packs contributed to one call; every rule is one that the bundle's index describes.

    Args:
        deny: rules that forbid the call.
        approve: rules that ask for a human.
        allow: rules that permit the call.
        oblige: demands, of any type; `effect` knows which types can be met.
        labels: canonical JSON of labels to join into the result.
    """

    deny: frozenset[Rule]
    approve: frozenset[Rule]
    allow: frozenset[Rule]
    oblige: frozenset[Obligation]
    labels: frozenset[bytes]


class _Entry(TypedDict):
    id: str
    pack: str


class _Demand(_Entry):
    type: str
    pointer: str
    value: Json


class _Labelling(_Entry):
    label: dict[str, Json]


class _Document(TypedDict):
    deny: list[_Entry]
    approve: list[_Entry]
    allow: list[_Entry]
    oblige: list[_Demand]
    label: list[_Labelling]
    packs: list[str]


def parse_answer(raw: bytes, *, rules: Mapping[str, Rule], packs: tuple[str, ...]) -> Answer:
    """Parse an answer document (`trionyx.decision/v1`).

    Args:
        raw: UTF-8 JSON text as the engine gave it.
        rules: the bundle's index, by rule id.
        packs: the manifest's packs.

    Raises:
        EvaluationError: too_large, duplicate_key, ill_typed, or drift (other packs than the manifest's).
    """
    if len(raw) > _MAX_BYTES:
        raise EvaluationError(EvaluationCode.TOO_LARGE, f"the answer has more than {_MAX_BYTES} bytes")
    try:
        value = parse(raw)
    except DuplicateKeyError as error:
        raise EvaluationError(EvaluationCode.DUPLICATE_KEY, f"the answer: {error}") from None
    except DocumentError as error:
        raise _ill_typed(str(error)) from None
    if not DECISION.accepts(value):
        raise _ill_typed("the answer does not fit the decision schema")
    document = cast(_Document, value)
    if sorted(document["packs"]) != sorted(packs):
        raise EvaluationError(EvaluationCode.DRIFT, "the packs that answered are not the manifest's")
    return Answer(
        deny=frozenset(_rule(entry, rules) for entry in document["deny"]),
        approve=frozenset(_rule(entry, rules) for entry in document["approve"]),
        allow=frozenset(_rule(entry, rules) for entry in document["allow"]),
        oblige=frozenset(_obligation(entry, rules) for entry in document["oblige"]),
        labels=frozenset(_label(entry, rules) for entry in document["label"]),
    )


def _rule(entry: _Entry, rules: Mapping[str, Rule]) -> Rule:
    rule = rules.get(entry["id"])
    if rule is None or rule.pack != entry["pack"]:
        raise _ill_typed("the answer names a rule that the bundle's index does not have")
    return rule


def _obligation(entry: _Demand, rules: Mapping[str, Rule]) -> Obligation:
    rule = _rule(entry, rules)
    return Obligation(rule.id, entry["type"], entry["pointer"], _canonical(entry["value"]))


def _label(entry: _Labelling, rules: Mapping[str, Rule]) -> bytes:
    _rule(entry, rules)
    label = dict(entry["label"])
    for member in ("categories", "readers"):
        names = label[member]
        if isinstance(names, list):  # sets in the lattice: one label has one spelling
            label[member] = cast(list[Json], sorted(cast(list[str], names)))
    return _canonical(label)


def _canonical(value: Json) -> bytes:
    try:
        return canonical(value)
    except DocumentError as error:
        raise _ill_typed(str(error)) from None


def _ill_typed(detail: str) -> EvaluationError:
    return EvaluationError(EvaluationCode.ILL_TYPED, detail)
