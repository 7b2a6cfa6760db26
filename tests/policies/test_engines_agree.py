"""Both engines give the same decision, on generated inputs that are as strange as the input schema permits."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
import rfc8785
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.decision import Decision, Outcome
from trionyx_policies.engine import EngineSettings
from trionyx_policies.errors import EvaluationCode, EvaluationError
from trionyx_policies.point import PolicyPoint
from trionyx_testing.parts import need

pytestmark = [pytest.mark.guarantee("G14"), pytest.mark.guarantee("G03")]

_CATALOG: Any = load_bundle().data["trionyx"]["catalog"]["servers"]  # type: ignore[index,call-overload]
TOOLS = [
    (server, name, tool["effect"])
    for server, entry in _CATALOG.items()
    for name, tool in entry["tools"].items()
]
EFFECTS = ["read", "fetch", "local", "egress", "money", "book", "authz", "destroy"]
ROLES = ["target", "selector", "secret", "when", "amount", "title", "content", "plain", "link"]
BIG = 2**53 - 1

ODD = [
    "", "x", "\x00", "\x00deny", "a\nb", '"', "\\", '"}],"allow":[', "\u202e", "é", "e\u0301", "\U0001f600",
    "\ufffd", "\u2028", "</script>", "%s%d", "(a+)+$", "*" * 40, "a" * 4000,
]  # fmt: skip
HOSTS = [
    "corp.example", "www.corp.example", "notcorp.example", "corp.example.", ".corp.example", "CORP.example",
    "collect.evil.example", "localhost", "127.0.0.1", "[::1]", "xn--crp-0na.example", *ODD,
]  # fmt: skip
ADDRESSES = [
    "jonas@corp.example", "drop@evil.example", "a@b@corp.example", "jo\u200bnas@corp.example", "@corp.example",
    *ODD,
]  # fmt: skip
PATHS = [
    "/", "/notes/a", "/secrets", "/secrets/key", "/secretsx", "/shared/a", "//shared/a", "/workspace/x",
    "/etc/passwd", *ODD,
]  # fmt: skip
COUNTS = [0, 0, 1, 2, 9, 10, 11, 31, 32, 49, 50, 1999, 2000, BIG]
NUMBERS = [0, -1, 0.5, -0.5, 5e-324, 1.7976931348623157e308, 1e21, 1e-7, 0.1 + 0.2, BIG, -BIG]


def strange_input(seed: int) -> bytes:
    """Make an input that fits the schema, of whatever is known to the policy or known to break things."""
    chance = Random(seed)  # noqa: S311 - a seed must give the same input again

    def word() -> str:
        return chance.choice(ODD) if chance.random() < 0.8 else _letters(chance)

    def some(values: list[str], most: int = 3) -> list[str]:
        return [chance.choice(values) for _ in range(chance.randint(0, most))]

    def count() -> int:
        return chance.choice(COUNTS)

    def flag(likely: float = 0.2) -> bool:
        return chance.random() < likely

    def each(most: int, make: Callable[[], dict[str, Any]]) -> list[dict[str, Any]]:
        return [make() for _ in range(chance.randint(0, most))]

    def place() -> str:
        return chance.choice(["/a", "/to/0", "/~0~1", ""])

    def value(depth: int = 3) -> Any:
        kind = chance.randrange(8 if depth else 5)
        if kind < 3:
            return word()
        if kind < 5:
            return chance.choice([None, True, False, *NUMBERS])
        if kind < 7:
            return [value(depth - 1) for _ in range(chance.randint(0, 3))]
        return {word(): value(depth - 1) for _ in range(chance.randint(0, 3))}

    server, name, effect = chance.choice(TOOLS) if flag(0.8) else (word(), word(), chance.choice(EFFECTS))
    explained = flag(0.6)  # whether every argument has an origin; without one nothing else is asked of it
    document: dict[str, Any] = {
        "schema": "trionyx.input/v1",
        "point": "tool.call",
        "run": {part: word() for part in ("id", "agent", "user", "tenant")}
        | {part: count() if flag(0.3) else 0 for part in ("calls", "denied", "in_flight", "same_call")}
        | {"registered": flag(), "by_effect": {chance.choice(EFFECTS): count() for _ in range(2)}},
        "prompt": {
            "sha256": chance.choice(["", "0" * 64]),
            "registered": flag(),
            "emails": some(ADDRESSES),
            "hosts": some(HOSTS),
            "paths": some(PATHS),
            "implies": sorted({chance.choice(EFFECTS) for _ in range(chance.randint(0, 3))}),
        },
        "label": {
            "categories": chance.choice(["*", [], ["é", "x"]]),
            "integrity": chance.choice(["user", "system", "org", "public"]),
            "level": chance.choice(["public", "internal", "secret"]),
            "readers": chance.choice(["*", "*", "*", [], ["jonas@corp.example"], ["\x00", "é"]]),
        },
        "tool": {
            "id": word(),
            "server": word(),
            "catalog": server,
            "name": name,
            "effect": effect if flag(0.9) else chance.choice(EFFECTS),
            "descriptor_sha256": "0" * 64,
        },
        "args": {word(): value() for _ in range(0 if explained else chance.randint(0, 3))},
        "args_meta": {"bytes": count(), "sha256": "0" * 64},
        "facts": {
            "paths": each(
                2,
                lambda: {
                    "arg": place(),
                    "path": chance.choice(PATHS),
                    "inside": flag(0.9),
                    "hidden": flag(),
                    "control": flag(),
                },
            ),
            "urls": each(
                2,
                lambda: {
                    "arg": place(),
                    "scheme": chance.choice(["https", "https", "http", "HTTPS", "", "file"]),
                    "host": chance.choice(HOSTS),
                    "port": chance.choice([0, 80, 443, 443, 65535]),
                    "ip": flag(),
                    "private": flag(),
                    "userinfo": flag(),
                    "query_bytes": count(),
                    "path": word(),
                },
            ),
            "recipients": each(
                3,
                lambda: {
                    "arg": place(),
                    "address": chance.choice(ADDRESSES),
                    "domain": chance.choice(HOSTS),
                },
            ),
            "text": each(
                2,
                lambda: {
                    "arg": place(),
                    "bytes": count(),
                    "control": flag(),
                    "bidi": flag(),
                    "invisible": flag(),
                    "urls": some(HOSTS, 2),
                },
            ),
            "invalid": [{"arg": place(), "type": word()}] if flag() else [],
            "origins": each(
                4,
                lambda: {
                    "arg": place(),
                    "role": chance.choice(ROLES),
                    "type": chance.choice(["email", "url", "text", "iban", "handle"]),
                    "integrity": chance.choice(["user", "system", "org", "public"]),
                    "handle": flag(),
                    "sources": each(
                        2,
                        lambda: {
                            "kind": chance.choice(["prompt", "result", "handle", "endorsement"]),
                            "call": word(),
                            "tool": word(),
                            "pointer": word(),
                        },
                    ),
                },
            ),
        },
        "approvals": [],
        "time": {"ms": count(), "hour": chance.randrange(24), "weekday": chance.randrange(8)},
    }
    if explained:
        _explain(document["facts"], chance)
    return rfc8785.dumps(document)


def _explain(facts: dict[str, list[dict[str, Any]]], chance: Random) -> None:
    """Give every fact an origin, and every host that a text links to."""
    for kind in ("paths", "urls", "recipients", "text"):
        for fact in facts[kind]:
            for role in ["target", *("link" for _ in fact.get("urls", []))]:
                facts["origins"].append(
                    {
                        "arg": fact["arg"],
                        "role": role,
                        "type": "text",
                        "integrity": chance.choice(["user", "user", "org", "public"]),
                        "handle": False,
                        "sources": [],
                    }
                )


def _letters(chance: Random) -> str:
    points = [chance.choice([chance.randrange(0xD800), chance.randrange(0xE000, 0x110000)]) for _ in range(6)]
    return "".join(map(chr, points))


class Pair:
    """Both engines, for synchronous tests."""

    def __init__(self, portal: BlockingPortal, wasm: PolicyPoint, opa: PolicyPoint) -> None:
        self._portal = portal
        self._points = (wasm, opa)

    def decide(self, document: bytes) -> tuple[Decision | EvaluationCode, ...]:
        return tuple(self._portal.call(self._one, point, document) for point in self._points)

    @staticmethod
    async def _one(point: PolicyPoint, document: bytes) -> Decision | EvaluationCode:
        try:
            return await point.decide(document)
        except EvaluationError as error:
            return error.code


def strict(bundle: Bundle) -> Bundle:
    """The shipped bundle with every rule in force, and every argument in need of an origin."""
    data: Any = copy.deepcopy(dict(bundle.data))
    members = data["trionyx"]
    members["rules"] = {}
    members["risk"]["kill_at"] = "high"
    members["flow"]["hide_text"] = True
    members["egress"] |= {"blocked": ["evil.example"], "max_recipients": 2}
    needs = members["provenance"]["requirements"]
    members["provenance"]["requirements"] = {
        effect: {role: "org" if integrity == "public" else integrity for role, integrity in roles.items()}
        for effect, roles in needs.items()
    }
    return replace(bundle, data=data)


@pytest.fixture(scope="module", params=["shipped", "strict"])
def pair(bundle: Bundle, request: pytest.FixtureRequest) -> Iterator[Pair]:
    opa = need("opa")
    bundle = strict(bundle) if request.param == "strict" else bundle
    with start_blocking_portal("asyncio") as portal:
        points = [
            portal.call(PolicyPoint.start, bundle, EngineSettings(kind, deadline_ms=5000, opa_command=opa))
            for kind in ("wasm", "opa")
        ]
        try:
            yield Pair(portal, *points)
        finally:
            for point in points:
                portal.call(point.aclose)


def agree(pair: Pair, document: bytes) -> None:
    wasm, opa = pair.decide(document)
    assert wasm == opa
    assert isinstance(wasm, Decision)


@settings(max_examples=300)
@given(seed=st.integers(0, 2**64))
def test_both_engines_decide_alike(pair: Pair, seed: int) -> None:
    agree(pair, strange_input(seed))


@pytest.mark.slow
def test_both_engines_decide_alike_on_ten_thousand_inputs(pair: Pair) -> None:
    for seed in range(10_000):
        agree(pair, strange_input(seed))


@pytest.mark.parametrize("pair", ["shipped"], indirect=True)
def test_the_strange_inputs_are_not_all_decided_alike(pair: Pair) -> None:
    decisions = [pair.decide(strange_input(seed))[0] for seed in range(150)]
    outcomes = {decision.outcome for decision in decisions if isinstance(decision, Decision)}
    assert outcomes >= {Outcome.ALLOW, Outcome.DENY}


@pytest.mark.parametrize("pair", ["strict"], indirect=True)
def test_the_strange_inputs_meet_most_rules(pair: Pair, bundle: Bundle) -> None:
    decisions = [pair.decide(strange_input(seed))[0] for seed in range(300)]
    met = {rule.id for decision in decisions if isinstance(decision, Decision) for rule in decision.rules}
    assert len(met) >= len(bundle.rules) * 3 // 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"long": "a" * 900_000},
        {"pattern": "a" * 50_000 + "!"},
        {"many": list(range(20_000))},
        {"wide": {str(number): None for number in range(5_000)}},
        {"edge": [5e-324, 1.7976931348623157e308, -1.7976931348623157e308, BIG, -BIG, 1e21, 0.1 + 0.2]},
        {"nul": "\x00", "\x00": "nul"},
    ],
    ids=lambda value: next(iter(value)),
)
def test_both_engines_bear_large_and_odd_arguments(pair: Pair, call: Any, arguments: dict[str, Any]) -> None:
    agree(pair, rfc8785.dumps(call("mail.list", args=arguments)))


def test_both_engines_bear_deep_arguments(pair: Pair, call: Any) -> None:
    value: Any = "leaf"
    for depth in range(120):
        value = [value] if depth % 2 else {"in": value}
    agree(pair, rfc8785.dumps(call("mail.list", args={"deep": value})))
