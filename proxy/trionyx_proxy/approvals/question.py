"""What a person is asked: the exact call, where its values came from, and the rules, in static words only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from trionyx_proxy.arguments import LINE, canonical, parse
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.approval import Ask
from trionyx_proxy.errors import ArgumentError, StateError

MAX_MATTERS = 64
"""Arguments of one call whose origin a person is shown."""

MAX_VALUE_CHARS = 256
"""Characters of one value that a person is shown; what is longer is not seen whole, and nobody can vouch for it."""

UNTRUSTED = "public"
UNASKED_ROLES = ("content", "plain", "link")


@dataclass(frozen=True, slots=True)
class Matter:
    """One value of the call, and who vouches for it.

    Args:
        pointer: of the argument; a person is shown it escaped, since it may hold names that the agent chose.
        role: its part in the call, as the catalog says.
        kind: how it is read, as the catalog says.
        value: as it will be sent; cut for texts.
        integrity: of its origin; `public` where nobody trusted vouches for it.
        sources: who vouches, each in words of ours and ids.
        is_hidden: it came from behind a handle, and the agent was not shown it.
    """

    pointer: str
    role: str
    kind: str
    value: str | int | float | bool
    integrity: str
    sources: tuple[str, ...]
    is_hidden: bool = False

    @property
    def can_be_endorsed(self) -> bool:
        """Whether a person can vouch for it beyond this call: it names something, and nobody trusted vouches for it.

        What a text says is read by people and judged each time, and so is what is too long to be shown whole.
        """
        return self.is_doubtful and len(str(self.value)) <= MAX_VALUE_CHARS

    @property
    def is_doubtful(self) -> bool:
        """Whether it names something, and nobody trusted vouches for it."""
        return self.is_untrusted and self.role not in UNASKED_ROLES

    @property
    def is_untrusted(self) -> bool:
        """Whether nobody trusted vouches for it."""
        return self.integrity == UNTRUSTED


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a person is shown.

    Args:
        rules: id and title of each rule that asks.
        arguments: canonical JSON of all arguments.
        matters: of the described arguments.
        has_hidden: some argument holds text that the agent was not shown.
    """

    run: str
    agent: str
    user: str
    tenant: str
    call: str
    tool: str
    rules: tuple[tuple[str, str], ...]
    arguments: str
    matters: tuple[Matter, ...]
    has_hidden: bool = False

    def encode(self) -> bytes:
        """Return canonical JSON."""
        return canonical(
            {
                "agent": self.agent,
                "arguments": self.arguments,
                "call": self.call,
                "has_hidden": self.has_hidden,
                "matters": [
                    {
                        "integrity": matter.integrity,
                        "is_hidden": matter.is_hidden,
                        "kind": matter.kind,
                        "pointer": matter.pointer,
                        "role": matter.role,
                        "sources": list(matter.sources),
                        "value": matter.value,
                    }
                    for matter in self.matters
                ],
                "rules": [list(rule) for rule in self.rules],
                "run": self.run,
                "tenant": self.tenant,
                "tool": self.tool,
                "user": self.user,
            }
        )


def compose(ask: Ask, identity: Identity) -> Question:
    """Return what a person is shown of a question; holds no text of any result.

    Args:
        ask: the core's question.
        identity: of the run.

    Raises:
        StateError: something that nobody trusted vouches for could not be shown.
    """
    arguments = orjson.loads(ask.request.arguments)
    facts = orjson.loads(ask.request.facts)
    origins = facts.get("origins", []) if isinstance(facts, dict) else []
    doubtful = [origin for origin in origins if _is_doubtful(origin)]
    # What a person decides about comes first: an agent could put more trusted values before it than are shown.
    others = [origin for origin in origins if not _is_doubtful(origin)][: max(0, MAX_MATTERS - len(doubtful))]
    matters = [matter for origin in (*doubtful, *others) if (matter := _matter(origin, arguments))]
    if len(doubtful) > MAX_MATTERS or sum(matter.is_doubtful for matter in matters) < len(doubtful):
        raise StateError(
            "the call has more doubtful values than can be shown, or some without a place of their own"
        )
    return Question(
        run=identity.run,
        agent=identity.agent,
        user=identity.user,
        tenant=identity.tenant,
        call=ask.request.call,
        tool=ask.request.tool.id,
        rules=tuple((reason.id, reason.title) for reason in ask.reasons),
        arguments=ask.request.arguments.decode(),
        matters=tuple(matters),
        has_hidden=any(
            origin.get("handle") is not False for origin in origins if origin.get("role") != "link"
        ),
    )


def decode(data: bytes) -> Question:
    """Read a stored question.

    Raises:
        StateError: it is not one.
    """
    try:
        found: Any = parse(data, LINE)
        return Question(
            run=found["run"],
            agent=found["agent"],
            user=found["user"],
            tenant=found["tenant"],
            call=found["call"],
            tool=found["tool"],
            rules=tuple((id_, title) for id_, title in found["rules"]),
            arguments=found["arguments"],
            matters=tuple(
                Matter(**{**matter, "sources": tuple(matter["sources"])}) for matter in found["matters"]
            ),
            has_hidden=found["has_hidden"],
        )
    except (ArgumentError, KeyError, TypeError, ValueError):
        raise StateError("a stored question cannot be read") from None


def _is_doubtful(origin: Mapping[str, Any]) -> bool:
    return origin.get("integrity", UNTRUSTED) == UNTRUSTED and origin.get("role") not in UNASKED_ROLES


def _matter(origin: Mapping[str, Any], arguments: object) -> Matter | None:
    """Return an argument's matter; links within texts have no value of their own to vouch for."""
    if origin.get("role") == "link":
        return None
    value = at(arguments, str(origin.get("arg", "")))
    if not isinstance(value, str | int | float | bool):
        return None
    return Matter(
        pointer=str(origin["arg"]),
        role=str(origin.get("role", "")),
        kind=str(origin.get("type", "")),
        value=value,
        integrity=str(origin.get("integrity", UNTRUSTED)),
        sources=tuple(_source(source) for source in origin.get("sources", [])),
        is_hidden=origin.get("handle") is not False,
    )


def _source(source: Mapping[str, str]) -> str:
    match source.get("kind"):
        case "prompt":
            return "the registered request"
        case "result":
            return f"a trusted field of {source.get('tool', '')} (call {source.get('call', '')})"
        case "handle":
            return f"a value extracted from {source.get('tool', '')} (call {source.get('call', '')})"
        case "endorsement":
            return "a person who vouched for it before"
        case _:
            return "an unknown source"


def at(value: object, pointer: str) -> object:
    """Return what a JSON pointer (RFC 6901) names, or None.

    Also None where the pointer stands for several places: `*` is any member with an odd name, not one of that name.
    """
    if "*" in pointer:
        return None
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value
