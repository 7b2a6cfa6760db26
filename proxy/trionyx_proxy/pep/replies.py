"""What a call of a tool for messages brings: a reading for the agent and the label, and who was told for the record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from trionyx_proxy.arguments import JSON
from trionyx_proxy.core.label import BOTTOM, Integrity, Label
from trionyx_proxy.messages.letter import Envelope
from trionyx_proxy.provenance import Reading

MAX_RECORDED_LABEL: Final = 2_048
"""Bytes of a message's label that a record names; a longer one is in the receiving run's label all the same."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a call brought.

    Args:
        reading: for the agent and the run's label.
        messages: for the record: id, kind, direction, peer and label of each message, never its content.
    """

    reading: Reading
    messages: tuple[Mapping[str, JSON], ...] = ()


def said(value: Mapping[str, JSON]) -> Reading:
    """Give a reading of the host's own words."""
    return Reading(structured(value), BOTTOM, (), ())


def failed(words: str) -> Told:
    """Give a tool error in the host's own words, which hold nothing received."""
    result = {"content": [{"text": words, "type": "text"}], "isError": True, "resultType": "complete"}
    return Told(Reading(result, BOTTOM, (), ()))


def structured(value: Mapping[str, JSON]) -> dict[str, Any]:
    """Give a result with one member, also as text."""
    (shown,) = value.values()
    text = shown if isinstance(shown, str) else orjson.dumps(shown).decode()
    return {
        "content": [{"text": text, "type": "text"}],
        "isError": False,
        "resultType": "complete",
        "structuredContent": dict(value),
    }


def recorded(envelope: Envelope, direction: str, *, millibits: int = 0) -> Mapping[str, JSON]:
    """Give what a record says of a message.

    Args:
        envelope: of the message.
        direction: `sent` or `received`.
        millibits: that a question was charged with.
    """
    is_sent = direction == "sent"
    shown: dict[str, JSON] = {
        "direction": direction,
        "id": envelope.id,
        "kind": envelope.kind,
        "peer_agent": envelope.to_agent if is_sent else envelope.from_agent,
        "peer_run": envelope.to_run if is_sent else envelope.from_run,
    }
    if envelope.question:
        shown["question"] = envelope.question
    if millibits:
        shown["millibits"] = millibits
    encoded = envelope.label.encode()
    if len(encoded) <= MAX_RECORDED_LABEL:
        shown["label"] = orjson.loads(encoded)
    return shown


def secrecy(label: Label) -> Label:
    """Return what of a label is not about trust."""
    return Label(Integrity.USER, label.level, label.readers, label.categories)


def untrusting(clearance: Label) -> Label:
    """Return a clearance that takes text of any writer, and is as it was otherwise."""
    return Label(Integrity.PUBLIC, clearance.level, clearance.readers, clearance.categories)
