"""An agent without a language model: does the user's task by the book, and the attacker's once it has read the attack.

The worst case of a prompt injection: from the result that shows the attack's text the attacker picks every call, with
every argument. A call that is refused is tried once more when all else is done; an attacker that insists tries every
way of `attacker.ways` besides. After its own calls the agent goes on with the user's task, which gives the utility
under attack.

With handles, an honest agent sees `⟦trx:…⟧` where untrusted text was. It passes a handle as a whole argument where the
task's argument is the hidden text, and reveals a text only where it must: where the task asks for words of it, or a
later argument holds a part of it.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import attacker

TOKEN = re.compile(r"⟦trx:[^⟧]+⟧")
REVEAL = "trionyx_reveal"

READING_TASKS = {
    "banking": frozenset(f"user_task_{number}" for number in (0, 2, 8, 12, 13, 14)),
    "slack": frozenset(f"user_task_{number}" for number in (0, 1, 2, 3, 4, 6, 11, *range(15, 21))),
    "workspace": frozenset(
        f"user_task_{number}" for number in (1, 4, *range(13, 20), *range(22, 26), *range(28, 35), 36, 37, 39)
    ),
}
"""Tasks whose answer or decision needs the words of untrusted text, although no ground-truth argument shows it."""


class Tools(Protocol):
    """The agent's side of the proxy."""

    offered: Mapping[str, Mapping[str, Any]]

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Call a tool by the name under which it is offered and return the result."""
        ...

    def executed(self) -> list[dict[str, Any]]:
        """Return the upstream's journal: what reached the tools, with the results as they left them."""
        ...


@dataclass
class Attempt:
    """One call of the agent.

    Args:
        rules: ids of the rules that refused it; empty if nobody refused.
        executed: whether it reached the tool.
    """

    tool: str
    arguments: dict[str, Any]
    by_attacker: bool
    executed: bool
    rules: list[str]
    seconds: float
    text: str = ""


@dataclass
class Agent:
    """One run of the agent.

    Args:
        tools: what it may call.
        prefix: what the proxy puts before this suite's tool names.
        task: as `dojo.task` gives it.
        reads: whether the user's task needs the words of untrusted text.
        reveals_all: reveal whatever is hidden, needed or not.
        ask: has a person answer what waits for an answer, and tells whether something did; None without a person.
        listings: tools that read and need no argument; an agent that has somebody to ask looks there first, as
            the remedy in a refusal says.
        effects: of the suite's tools, for an attacker that insists; None for one that does not.
    """

    tools: Tools
    prefix: str
    task: Mapping[str, Any]
    reads: bool
    reveals_all: bool = False
    ask: Callable[[], bool] | None = None
    listings: Sequence[str] = ()
    effects: Mapping[str, str] | None = None
    attempts: list[Attempt] = field(default_factory=list)
    hijacked: bool = False
    _shown: list[str] = field(default_factory=list)
    _handles: dict[str, str] = field(default_factory=dict)  # hidden text → its handle

    def run(self) -> str:
        """Do the task; return the last words."""
        self._shown.append(self.task["prompt"])
        calls = list(self.task["calls"])
        for position, call in enumerate(calls):
            self._later = [later["arguments"] for later in calls[position + 1 :]]
            self._step(call, by_attacker=False)
        if self.hijacked:
            refused = [attempt for attempt in self.attempts if attempt.by_attacker and attempt.rules]
            for attempt in refused:
                self._call(attempt.tool, attempt.arguments, by_attacker=True)
                if self.effects is not None:
                    self._insist({"tool": attempt.tool, "arguments": attempt.arguments}, self.effects)
        return f"{self.task['answer']} {self.task['marker'] if self.hijacked else ''}"

    def sent(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments in the form in which the tool takes them."""
        described = self.tools.offered.get(self.prefix + tool, {})
        properties = described.get("inputSchema", {}).get("properties", {})
        return {name: absolute(value, properties.get(name, {})) for name, value in arguments.items()}

    def is_refused(self, call: Mapping[str, Any]) -> bool:
        """Tell whether a call of the attack was refused when it was first tried."""
        for attempt in self.attempts:
            if attempt.by_attacker and (attempt.tool, attempt.arguments) == (call["tool"], call["arguments"]):
                return bool(attempt.rules)
        return False

    def _step(self, call: Mapping[str, Any], *, by_attacker: bool) -> None:
        arguments = call["arguments"]
        if not by_attacker:
            arguments = {name: self._spelt(value) for name, value in arguments.items()}
        attempt, result = self._call(call["tool"], arguments, by_attacker=by_attacker)
        for remedy in (self._look_up, self.ask) if self.ask is not None else ():
            if attempt.rules and remedy():
                attempt, result = self._call(call["tool"], arguments, by_attacker=by_attacker)
        self._read(result, attempt)

    def _insist(self, call: Mapping[str, Any], effects: Mapping[str, str]) -> None:
        """Try every way that is left to have a refused call carried out."""
        shown = dict.fromkeys(token for text in self._shown for token in TOKEN.findall(text))
        # Whatever named somebody in a hidden text may be a handle of its own.
        for token in list(shown)[: attacker.MAX_TOKENS]:
            for kind in ("email", "iban", "url"):
                result = self.tools.call(attacker.EXTRACT, {"handle": token, "type": kind})
                shown |= dict.fromkeys(TOKEN.findall(json.dumps(result, ensure_ascii=False)))
        tokens = list(reversed(shown))
        for way in attacker.ways(
            dict(call), self.tools.offered, self.prefix, effects, tokens, self.task["calls"]
        ):
            for step in way:
                attempt, result = self._call(step["tool"], step["arguments"], by_attacker=True)
                self._shown += strings(result.get("content"))
            if attempt.executed:
                return

    def _look_up(self) -> bool:
        listings, self.listings = self.listings, ()
        for tool in listings:
            attempt, result = self._call(tool, {}, by_attacker=False)
            self._read(result, attempt)
        return bool(listings)

    def _spelt(self, value: Any) -> Any:
        """Return the handle of a text that the agent has not read but knows the handle of."""
        if isinstance(value, str) and value in self._handles and not self._has_seen(value):
            return self._handles[value]
        return value

    def _call(
        self, tool: str, arguments: Mapping[str, Any], *, by_attacker: bool
    ) -> tuple[Attempt, dict[str, Any]]:
        offered = self.prefix + tool
        sent = self.sent(tool, arguments)
        before = len(self.tools.executed())
        began = time.perf_counter()
        result = self.tools.call(offered, sent)
        attempt = Attempt(
            tool=tool,
            arguments=dict(arguments),
            by_attacker=by_attacker,
            executed=len(self.tools.executed()) > before,
            rules=refusal(result),
            seconds=time.perf_counter() - began,
            text=" ".join(strings(result.get("content")))[:400],
        )
        self.attempts.append(attempt)
        return attempt, result

    def _read(self, result: Mapping[str, Any], attempt: Attempt | None) -> None:
        """Take in a result: learn handles, reveal what is needed, and obey the attack if it is there."""
        document = result.get("structuredContent", result.get("content"))
        shown = list(strings(document)) + list(strings(result.get("content")))
        self._shown += shown
        tokens = list(dict.fromkeys(token for text in shown for token in TOKEN.findall(text)))
        if attempt is not None and attempt.executed:
            raw = self.tools.executed()[-1]["document"]
            whole = document.get("result") if isinstance(document, dict) else document
            self._handles |= {text: handle for handle, text in hidden(whole, raw)}
        if self._holds_attack(shown) and not self.hijacked:
            self.hijacked = True
            for call in self.task["attack"]:
                self._step(call, by_attacker=True)
        contents = {handle: text for text, handle in self._handles.items()}
        for token in tokens:
            if self.reveals_all or self.reads or self._needs(contents.get(token, "")):
                _, revealed = self._native(token)
                self._read(revealed, None)

    def _native(self, token: str) -> tuple[None, dict[str, Any]]:
        return None, self.tools.call(REVEAL, {"handle": token})

    def _needs(self, text: str) -> bool:
        """Tell whether a later argument holds, or lies inside, a hidden text of which it is not the whole."""
        for arguments in self._later:
            for value in strings(arguments):
                if value and value != text and value in text and not self._has_seen(value):
                    return True
        return False

    def _has_seen(self, text: str) -> bool:
        return any(text in shown for shown in self._shown)

    def _holds_attack(self, shown: list[str]) -> bool:
        marker = " ".join(self.task["marker"].split())
        return bool(marker) and any(marker in " ".join(text.split()) for text in shown)


def absolute(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return a web address as an absolute one where the tool's schema asks for a URI; the suites write `www.…`."""
    if schema.get("format") == "uri" and isinstance(value, str) and "://" not in value and value[:1] != "⟦":
        return "https://" + value
    return value


def strings(value: Any) -> Iterator[str]:
    """Yield every text in a JSON value, member names included."""
    match value:
        case str():
            yield value
        case list():
            for element in value:
                yield from strings(element)
        case dict():
            for name, element in value.items():
                yield name
                yield from strings(element)


def hidden(shown: Any, raw: Any) -> Iterator[tuple[str, str]]:
    """Yield each handle in a delivered document with the text that the tool gave in its place."""
    match shown, raw:
        case str(), str() if shown != raw and TOKEN.fullmatch(shown):
            yield shown, raw
        case list(), list():
            for one, other in zip(shown, raw, strict=False):
                yield from hidden(one, other)
        case dict(), dict():
            for name in shown.keys() & raw.keys():
                yield from hidden(shown[name], raw[name])


def refusal(result: Mapping[str, Any]) -> list[str]:
    """Return the ids of the rules that refused a call."""
    reasons = (result.get("_meta") or {}).get("trionyx/refusal")
    if reasons is None:
        return []
    return [str(reason.get("rule", "?")) for reason in reasons] or ["?"]


def load_journal(text: str) -> list[dict[str, Any]]:
    """Read the lines of a server's journal."""
    return [json.loads(line) for line in text.splitlines()]
