"""Which agents may talk, read from the policy's data; what cannot be read permits nothing.

data.trionyx.peers.<agent>: {"send_to": [AGENT…], "receive_from": [AGENT…], "clearance": LABEL, "any_user": BOOL,
                             "asks": {AGENT: {"cat1": PER_HOUR, "cat2": PER_HOUR, "cat3": PER_HOUR}}}
data.trionyx.messages:      {"bits_per_question", "bits_per_run", "bits_per_pair", "expires_s", "max_waiting",
                             "per_hour", "max_depth"}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog.clearance import read_clearance
from trionyx_proxy.core.label import BOTTOM, Label

CATEGORIES = (1, 2, 3)
"""1: a truth value, a choice, an integer; 2: a few words; 3: a summary, which a person has to approve."""


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Bounds of all talk under one policy; what the data does not say is 0, and closes.

    Args:
        bits_per_question: of one typed question, at most.
        bits_per_run: that one run may ask for in all.
        bits_per_pair: that one agent may ask another for within a day, over all runs.
        expires_s: after which a message or a question is of no effect any more, seconds.
        max_waiting: messages from one agent to another that are not yet received.
        per_hour: messages from one agent to another.
        max_depth: of child runs below a run without a parent.
    """

    bits_per_question: int = 0
    bits_per_run: int = 0
    bits_per_pair: int = 0
    expires_s: int = 0
    max_waiting: int = 0
    per_hour: int = 0
    max_depth: int = 0

    @classmethod
    def read(cls, value: JSON) -> MessageLimits:
        """Read `data.trionyx.messages`; never fails."""
        given = value if isinstance(value, dict) else {}
        read: dict[str, int] = {}
        for bound in fields(cls):
            number = given.get(bound.name)
            if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 1 << 31:
                read[bound.name] = number
        return cls(**read)


@dataclass(frozen=True, slots=True)
class Peer:
    """One agent among its peers.

    Args:
        send_to: agents that it may send to.
        receive_from: agents that it may receive from.
        clearance: the most restrictive label of a message that it may receive.
        any_user: its runs receive from runs that act for other users, too.
        asks: questions per hour, by the agent asked and the category.
    """

    send_to: frozenset[str] = frozenset()
    receive_from: frozenset[str] = frozenset()
    clearance: Label = BOTTOM
    any_user: bool = False
    asks: Mapping[tuple[str, int], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Peers:
    """All agents that may talk."""

    _agents: Mapping[str, Peer]
    limits: MessageLimits = MessageLimits()

    @classmethod
    def from_data(cls, data: JSON) -> Peers:
        """Read `data.trionyx` of a bundle; never fails, closes instead."""
        whole = data if isinstance(data, dict) else {}
        agents = whole.get("peers")
        return cls(
            {name: _peer(value) for name, value in (agents if isinstance(agents, dict) else {}).items()},
            MessageLimits.read(whole.get("messages")),
        )

    def has(self, agent: str) -> bool:
        """Tell whether the policy gives an agent peers."""
        return bool(agent) and agent in self._agents

    def permits(self, sender: str, receiver: str) -> bool:
        """Tell whether both sides allow messages; nobody sends to itself, and the unknown may nothing."""
        if sender == receiver or not self.has(sender) or not self.has(receiver):
            return False
        return receiver in self._agents[sender].send_to and sender in self._agents[receiver].receive_from

    def clearance(self, agent: str) -> Label:
        """Return the most restrictive label that an agent may receive; BOTTOM for an unknown one."""
        return self._agents[agent].clearance if self.has(agent) else BOTTOM

    def any_user(self, agent: str) -> bool:
        """Tell whether an agent's runs receive from runs that act for other users, too."""
        return self.has(agent) and self._agents[agent].any_user

    def rate(self, asker: str, answerer: str, category: int) -> int:
        """Return how many questions of a category an agent may ask another in an hour."""
        return self._agents[asker].asks.get((answerer, category), 0) if self.has(asker) else 0


def _peer(value: JSON) -> Peer:
    given = value if isinstance(value, dict) else {}
    asks: dict[tuple[str, int], int] = {}
    found = given.get("asks")
    for agent, rates in (found if isinstance(found, dict) else {}).items():
        for category in CATEGORIES:
            rate = rates.get(f"cat{category}") if isinstance(rates, dict) else None
            if isinstance(rate, int) and not isinstance(rate, bool) and rate > 0:
                asks[agent, category] = rate
    return Peer(
        _names(given.get("send_to")),
        _names(given.get("receive_from")),
        read_clearance(given.get("clearance")),
        given.get("any_user") is True,
        asks,
    )


def _names(value: JSON) -> frozenset[str]:
    return (
        frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else frozenset()
    )
