"""What an agent's program can do about a refusal, as words of a fixed vocabulary.

Depends on nothing but the rules that refused, which the agent is told anyway, and the id of an open question. Rules
that are not listed, an operator's own among them, have no remedy but the one in their text.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from trionyx_proxy.arguments import JSON
from trionyx_proxy.core.request import Refusal
from trionyx_proxy.core.verdict import HostRule

NAME_IT: Final = "name_it_in_request"
"""The user can name the value in a request; a new run for that request may then use it."""

EXTRACT: Final = "use_trionyx_extract"
"""A number, date or choice can be had from hidden text at a price in bits."""

ASK: Final = "ask_a_person"
"""A person was or can be asked; with `approval`, the question's id, exactly this call can be repeated later."""

NEW_RUN: Final = "new_run"
"""A run that has not seen what this one has may do it."""

_NAMED = (
    "PROV-002",
    "PROV-003",
    "PROV-004",
    "PROV-005",
    "PROV-006",
    "PROV-007",
    "PROV-008",
    "PROV-009",
    "PROV-013",
)
_ANEW = (
    "BIBA-001",
    "BLP-001",
    "FLOW-001",
    "FLOW-003",
    "FLOW-004",
    "FLOW-005",
    "LIM-001",
    "LIM-003",
    "LIM-004",
)
_MIXED = ("RISK-001", "RULETWO-001", "TRIFECTA-001")
_REMEDIES: Final = MappingProxyType(
    dict.fromkeys(_NAMED, (NAME_IT,))
    | dict.fromkeys((*_ANEW, *_MIXED), (NEW_RUN,))
    | {
        "EGR-005": (NEW_RUN,),
        "EGR-007": (NAME_IT,),
        "FLOW-002": (NAME_IT,),
        "FLOW-006": (NAME_IT,),
        "PROV-010": (NAME_IT, EXTRACT),
        "PROV-011": (NAME_IT, NEW_RUN),
        HostRule.FLOW.value: (NEW_RUN,),
        HostRule.PENDING.value: (ASK,),
        HostRule.EXPIRED.value: (ASK,),
        HostRule.APPROVAL.value: (ASK,),
    }
)


def remedies(rule: str, refusal: Refusal) -> list[JSON]:
    """Return what can be done about one rule of a refusal.

    Args:
        rule: its id.
        refusal: may name an open question.
    """
    question: dict[str, JSON] = {"approval": refusal.approval} if refusal.approval else {}
    return [{"kind": kind, **(question if kind == ASK else {})} for kind in _REMEDIES.get(rule, ())]
