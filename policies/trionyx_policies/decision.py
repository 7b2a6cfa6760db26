"""The decision as a value: what a policy bundle's answer means once the host has computed its effect.

Pure: no engine, no file, no clock. The policy core of the proxy and the authoring tools share these types.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """The effect of a decision. There is no fourth value and no default."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that took part in a decision, in its author's static words (never the message it computed).

    Args:
        id: `^[A-Z]{2,8}-[0-9]{3}$`, described by METADATA.
        pack: the pack that contributed it, or `host`.
        title: METADATA title.
        remedy: METADATA `custom.remedy`: what would be allowed; may be empty.
    """

    id: str
    pack: str
    title: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Obligation:
    """Something the host must do for the decision to stand.

    Args:
        rule: id of the rule that demands it.
        type: `replace_arg`, `drop_arg` (both transform the arguments), `max_result_bytes`, `hide_text`.
        pointer: JSON pointer of the argument, or "".
        value: canonical JSON of the new value or of the limit, `null` where there is none, or b"".
    """

    rule: str
    type: str
    pointer: str = ""
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Decision:
    """The host's effect of one policy answer.

    Args:
        outcome: deny overrides; without an allow it is a deny.
        rules: determining rules: those that deny, else those that ask, else those that allow; sorted by id.
        obligations: for an allow or an ask, all of them; sorted.
        labels: canonical JSON of each label the policy joins into the result; only ever raises.
        revision: revision of the bundle that answered; rises with every reload.
        digest: hex digest of that bundle.
    """

    outcome: Outcome
    rules: tuple[Rule, ...]
    obligations: tuple[Obligation, ...]
    labels: tuple[bytes, ...]
    revision: int
    digest: str
