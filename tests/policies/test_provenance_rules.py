"""What the rules about provenance, the classic models and risk decide, rule by rule, and how each is switched."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from trionyx_policies.bundle import Bundle
from trionyx_policies.decision import Decision, Outcome
from trionyx_policies.engine import EngineSettings

pytestmark = [pytest.mark.anyio, pytest.mark.guarantee("G35")]

ALLOW, DENY, ASK = Outcome.ALLOW, Outcome.DENY, Outcome.ASK
FINE = {"CATALOG-100"}
TAINTED = {"integrity": "public"}
ROLES = ["target", "selector", "secret", "when", "amount", "title", "content", "link"]
EFFECTS = ["read", "fetch", "local", "egress", "money", "book", "authz", "destroy"]
TRUST = ["user", "system", "org", "public"]


def with_data(bundle: Bundle, change: Callable[[Any], object]) -> Bundle:
    """The shipped bundle with other data, and without the session rules that would decide first."""
    data: Any = copy.deepcopy(dict(bundle.data))
    members = data["trionyx"]
    members["flow"] |= {"untainted_effects": [], "approval_effects": [], "hide_text": True}
    members["rules"]["PROV-001"] = "deny"
    members["catalog"]["servers"]["desk"] = {
        "tools": {effect: members["catalog"]["servers"]["mail"]["tools"]["read"] | {"effect": effect, "args": {}}
                  for effect in EFFECTS}
    }  # fmt: skip
    own = {"tools": {"trionyx_reveal": members["catalog"]["servers"]["mail"]["tools"]["read"]}}
    members["catalog"]["servers"].setdefault("trionyx", own)
    change(members)
    return replace(bundle, data=data)


def as_it_is(members: Any) -> None:
    """No change."""


def act(effect: str, *origins: Mapping[str, Any], **words: Any) -> tuple[str, dict[str, Any]]:
    """A call of the desk whose arguments have these origins."""
    return f"desk.{effect}", {"effect": effect, "origins": list(origins)} | words


def origin(role: str, integrity: str = "user", *, handle: bool = False, type: str = "name") -> dict[str, Any]:
    return {"arg": "/a", "role": role, "type": type, "integrity": integrity, "handle": handle}


def link(integrity: str) -> dict[str, Any]:
    return origin("link", integrity) | {"arg": "/body"}


PAGE = {"urls": [{"host": "x.example"}], "vouched": "public"}
LINK = {"text": [{"urls": ["x.example"]}]}
BODY = {"arg": "/body", "role": "content", "type": "text", "integrity": "public"}

# what it shows, the call, outcome, determining rules
CASES: list[tuple[str, tuple[str, dict[str, Any]], Outcome, set[str]]] = [
    ("an argument without origin", act("egress", args={"to": "x"}), DENY, {"PROV-001"}),
    ("the same, read", act("read", args={"to": "x"}), ALLOW, FINE),
    ("an untraced link", act("egress", BODY, **LINK), DENY, {"PROV-001"}),
    ("an invented target", act("egress", origin("target", "public")), ASK, {"PROV-002"}),
    ("a colleague's target", act("egress", origin("target", "org")), ALLOW, FINE),
    ("an invented payee", act("money", origin("target", "public")), ASK, {"PROV-002"}),
    ("an invented selector", act("authz", origin("selector", "public")), ASK, {"PROV-003"}),
    ("a listed selector", act("authz", origin("selector", "system")), ALLOW, FINE),
    ("a colleague's password", act("authz", origin("secret", "org")), DENY, {"PROV-004"}),
    ("the user's password", act("authz", origin("secret")), ALLOW, FINE),
    ("a listed date of a booking", act("book", origin("when", "system")), ASK, {"PROV-005"}),
    ("the user's date of a booking", act("book", origin("when")), ALLOW, FINE),
    ("an invented date of a booking", act("book", origin("when", "public") | {"day": "org"}), ASK, {"PROV-005"}),
    ("an hour of the user's day", act("book", origin("when", "public") | {"day": "user"}), ALLOW, FINE),
    ("an invented title of a mail", act("egress", origin("title", "public")), ALLOW, FINE),
    ("the same of a tainted run",
     act("egress", origin("title", "public"), origin("target") | {"arg": "/to"}, **TAINTED), ASK, {"PROV-007"}),
    ("an invented title of a booking", act("book", origin("title", "public")), ASK, {"PROV-007"}),
    ("a computed amount", act("money", origin("amount", "public")), ALLOW, FINE),
    ("an invented link", act("egress", BODY, link("public"), **LINK), DENY, {"PROV-008"}),
    ("a colleague's link", act("egress", BODY, link("org"), **LINK), ALLOW, FINE),
    ("an invented address", ("web.fetch", PAGE), ASK, {"PROV-009"}),
    ("a page of ours", ("web.fetch", {"urls": [{}], "vouched": "public"}), ALLOW, FINE),
    ("a query to a host of ours", ("web.fetch", PAGE | {"urls": [{"query_bytes": 9}]}), ASK, {"PROV-009"}),
    ("hidden text as a target", act("egress", origin("target", "public", handle=True)), DENY, {"PROV-010"}),
    ("hidden text as text", act("egress", origin("content", "public", handle=True)), ALLOW, FINE),
    ("a tainted run's choice", act("book", origin("target", "org"), **TAINTED), ASK, {"PROV-011"}),
    ("whom a tainted run invites", act("book", origin("target", "org", type="email"), **TAINTED), ALLOW, FINE),
    ("a tainted run's act on nothing", act("authz", origin("content"), **TAINTED), ASK, {"PROV-014"}),
    ("the same of a clean run", act("authz", origin("content", "public")), ALLOW, FINE),
    ("a tainted run's note", act("local", origin("content", "public"), **TAINTED), ALLOW, FINE),
    ("a clean run's choice", act("book", origin("target", "org")), ALLOW, FINE),
    ("what a tainted run was told to book", act("book", origin("target"), **TAINTED), ALLOW, FINE),
    ("an act nobody spoke of", act("destroy", origin("target"), **TAINTED), ASK, {"PROV-012"}),
    ("an act the user spoke of",
     act("destroy", origin("target"), **TAINTED, prompt={"implies": ["destroy"]}), ALLOW, FINE),
    ("a mail that is passed on unread", ("imap.forward_email", {}), DENY, {"PROV-015"}),
    ("a mail of a tainted run's words", ("imap.send_email", {"to": ["jonas@corp.example"], "text": [{}], **TAINTED}),
     ALLOW, FINE),
    ("untrusted text in a mail", act("egress", origin("content", "public")), ALLOW, FINE),
    ("two things wrong", act("book", origin("when", "org"), origin("title", "public")), ASK, {"PROV-005", "PROV-007"}),
    ("an ask beside a denial", act("authz", origin("target", "public"), origin("secret", "org")), DENY, {"PROV-004"}),
]  # fmt: skip


async def decide_all(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any, calls: Mapping[str, Any]
) -> dict[str, Decision]:
    async with started(bundle, settings) as point:
        return {name: await point.decide(document(tool, **words)) for name, (tool, words) in calls.items()}


async def test_each_rule_fires_where_it_should_and_nowhere_else(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    calls = {name: call for name, call, _, _ in CASES}
    found = await decide_all(with_data(bundle, as_it_is), settings, started, document, calls)
    assert {name: (got.outcome, {rule.id for rule in got.rules}) for name, got in found.items()} == {
        name: (outcome, rules) for name, _, outcome, rules in CASES
    }


async def test_every_requirement_of_the_table_holds(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    """An argument passes if and only if its origin is at least as trusted as the table says."""
    edited = with_data(bundle, lambda members: members.update(rules={}))
    table: Any = edited.data["trionyx"]["provenance"]["requirements"]  # type: ignore[index, call-overload]
    calls = {
        f"{effect} {role} {integrity}": act(effect, origin(role, integrity))
        for effect, role, integrity in itertools.product(EFFECTS, ROLES, TRUST)
    }
    # Rules switched on for this test that look at the run and not at the argument have nothing to say here.
    found = await decide_all(edited, settings, started, document, calls)
    for effect, role, integrity in itertools.product(EFFECTS, ROLES, TRUST):
        met = {rule.id for rule in found[f"{effect} {role} {integrity}"].rules if rule.pack == "provenance"}
        assert (met == set()) == (TRUST.index(integrity) <= TRUST.index(table[effect][role])), (effect, role)


@pytest.mark.guarantee("G03")
async def test_whatever_is_said_of_relaying_but_no_means_yes(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    """Also what the gate would not let into a bundle."""
    said: dict[str, Any] = {
        "yes": True, "nothing": None, "0": 0, "1": 1, "a word": "false", "": "", "list": [], "object": {}, "no": False,
    }  # fmt: skip

    def describe(members: Any) -> None:
        tools = members["catalog"]["servers"]["desk"]["tools"]
        tools |= {name: tools["egress"] | {"relays": value} for name, value in said.items()}

    calls = {name: (f"desk.{name}", {"effect": "egress"}) for name in said} | {"unsaid": act("egress")}
    found = await decide_all(with_data(bundle, describe), settings, started, document, calls)
    assert {name for name, got in found.items() if got.outcome is ALLOW} == {"no", "unsaid"}
    denied = [{rule.id for rule in got.rules} for got in found.values() if got.outcome is DENY]
    assert denied == [{"PROV-015"}] * (len(said) - 1)


@pytest.mark.parametrize("position", ["deny", "ask", "off"])
async def test_every_rule_of_provenance_can_be_switched(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any, position: str
) -> None:
    meant = {"deny": DENY, "ask": ASK, "off": ALLOW}[position]

    def switch(members: Any) -> None:
        members["rules"] |= {f"PROV-{number:03}": position for number in range(1, 16)}
        needs = members["provenance"]["requirements"]["money"]
        needs |= {"amount": "org", "content": "org"}

    calls = {name: call for name, call, outcome, _ in CASES if outcome is not ALLOW}
    calls |= {
        "amount": act("money", origin("amount", "public")),
        "content": act("money", origin("content", "public")),
    }
    found = await decide_all(with_data(bundle, switch), settings, started, document, calls)
    assert {name: got.outcome for name, got in found.items()} == dict.fromkeys(calls, meant)
    if meant is not ALLOW:
        met = {rule.id for got in found.values() for rule in got.rules}
        assert met == {f"PROV-{number:03}" for number in range(1, 16)}


async def test_an_unknown_position_denies(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    odd = with_data(bundle, lambda m: m["rules"].update({"PROV-002": "allow", "PROV-012": "no"}))
    calls = {
        "denial": act("egress", origin("target", "public")),
        "request": act("destroy", origin("target"), **TAINTED),
    }
    found = await decide_all(odd, settings, started, document, calls)
    assert {name: got.outcome for name, got in found.items()} == {"denial": DENY, "request": DENY}


async def test_what_is_read_is_shown_without_its_untrusted_text(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    """Where the data says so: for reading and fetching, but not for the tool that reveals what is hidden."""

    calls: dict[str, Any] = {effect: act(effect) for effect in EFFECTS} | {
        "reveal": ("trionyx.trionyx_reveal", {})
    }
    found = await decide_all(with_data(bundle, as_it_is), settings, started, document, calls)
    hidden = {
        name for name, got in found.items() if any(demand.type == "hide_text" for demand in got.obligations)
    }
    assert hidden == {"read", "fetch"}
    shown = with_data(bundle, lambda members: members["flow"].update(hide_text=False))
    found = await decide_all(shown, settings, started, document, calls)
    assert not any(demand.type == "hide_text" for got in found.values() for demand in got.obligations)


CLERK = {"run": {"agent": "clerk"}}
Calls = list[tuple[str, dict[str, Any]]]
CLASSICS: dict[str, tuple[Calls, Calls]] = {
    # rule: what it stops, what it lets pass
    "TRIFECTA-001": (
        [act("egress", integrity="public", level="internal"), act("fetch", integrity="public", level="secret")],
        [act("egress", **TAINTED), act("egress", level="secret"), act("local", **TAINTED, level="secret")],
    ),
    "RULETWO-001": (
        [act("local", integrity="public", level="internal"), act("destroy", integrity="public", level="secret")],
        [act("read", **TAINTED, level="secret"), act("local", **TAINTED), act("money", level="internal")],
    ),
    "BIBA-001": (
        [act("local", integrity="public"), act("fetch", integrity="public")],
        [act("read", integrity="public"), act("money", integrity="org", level="internal")],
    ),
    "BIBA-002": (
        [act("read", **CLERK)],
        [act("read"), ("files.list", CLERK)],
    ),
    "BLP-001": (
        [act("egress", level="internal"), act("money", level="secret")],
        [act("egress"), act("money", level="internal"), act("local", level="secret")],
    ),
    "BLP-002": (
        [("files.read", CLERK | {"paths": ["/secrets/key"]})],
        [("files.read", {"paths": ["/secrets/key"]}), ("files.read", CLERK | {"paths": ["/shared/a"]})],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSICS)
async def test_each_classic_is_off_until_it_is_switched_on(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any, name: str
) -> None:
    stopped, passed = CLASSICS[name]
    calls = {str(number): call for number, call in enumerate([*stopped, *passed])}

    def clerk(members: Any) -> None:
        members["classics"]["readers"]["agents"] = {"clerk": {"integrity": "org", "level": "internal"}}

    shipped = await decide_all(with_data(bundle, clerk), settings, started, document, calls)
    assert {got.outcome for got in shipped.values()} <= {ALLOW, ASK}

    def on(members: Any) -> None:
        clerk(members)
        members["rules"][name] = "deny"

    found = await decide_all(with_data(bundle, on), settings, started, document, calls)
    denied = [number for number, got in found.items() if got.outcome is DENY]
    assert denied == [str(number) for number in range(len(stopped))]
    assert {item.id for number in denied for item in found[number].rules} == {name}


RISKS = ["low", "moderate", "high", "critical"]
GRADES = ["low", "medium", "high"]
# Taint by sensitivity, as documented for high capability; medium is the baseline, low is one step below it.
DOCUMENTED = {
    "high": [["low", "moderate", "high"], ["moderate", "high", "critical"], ["high", "critical", "critical"]],
    "medium": [["low", "low", "moderate"], ["low", "moderate", "high"], ["moderate", "high", "critical"]],
}


def test_the_risk_table_is_the_documented_one_and_rises_on_every_axis(bundle: Bundle) -> None:
    table: Any = bundle.data["trionyx"]["risk"]["table"]  # type: ignore[index, call-overload]

    def risk(*cell: int) -> int:
        taint, sensitivity, capability = (GRADES[index] for index in cell)
        return RISKS.index(table[taint][sensitivity][capability])

    cells = list(itertools.product(range(3), repeat=3))
    assert len(cells) == 27
    for taint, sensitivity, capability in cells:
        if capability:
            written = DOCUMENTED[GRADES[capability]][taint][sensitivity]
            assert RISKS[risk(taint, sensitivity, capability)] == written
        else:
            assert risk(taint, sensitivity, 0) == max(risk(taint, sensitivity, 1) - 1, 0)
    for lower, higher in itertools.product(cells, repeat=2):
        if all(one <= other for one, other in zip(lower, higher, strict=True)):
            assert risk(*lower) <= risk(*higher)


@pytest.mark.parametrize("kill_at", ["never", "moderate", "high", "critical"])
async def test_from_the_threshold_on_a_run_is_over(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any, kill_at: str
) -> None:
    """Every cell of the table: what a run has read, how private it is, and the most it has done."""
    edited = with_data(bundle, lambda members: members["risk"].update(kill_at=kill_at))
    risk: Any = edited.data["trionyx"]["risk"]  # type: ignore[index, call-overload]
    points = list(itertools.product(TRUST, ["public", "internal", "secret"], ["read", "fetch", "egress"]))
    calls = {
        " ".join(point): act("read", integrity=point[0], level=point[1], run={"by_effect": {point[2]: 1}})
        for point in points
    }
    found = await decide_all(edited, settings, started, document, calls)
    for integrity, level, effect in points:
        cell = risk["table"][risk["taint"][integrity]][risk["sensitivity"][level]][risk["capability"][effect]]
        over = kill_at != "never" and RISKS.index(cell) >= RISKS.index(kill_at)
        assert found[f"{integrity} {level} {effect}"].outcome is (DENY if over else ALLOW)


async def test_a_declared_capability_counts_before_anything_is_done(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    def declare(members: Any) -> None:
        members["risk"] |= {"kill_at": "critical", "agents": {"mailer": "high"}}

    seen = {"integrity": "public", "level": "internal"}
    calls = {"undeclared": act("read", **seen), "declared": act("read", **seen, run={"agent": "mailer"})}
    found = await decide_all(with_data(bundle, declare), settings, started, document, calls)
    assert {name: got.outcome for name, got in found.items()} == {"undeclared": ALLOW, "declared": DENY}


async def test_a_trusted_origin_serves_where_only_the_prompt_did(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Any
) -> None:
    """The rules about tainted runs look at origins too, so that a listed contact can be written to."""
    link = {"to": ["jonas@corp.example"], "text": [{"urls": ["x.example"]}]}
    page = {"urls": [{"host": "x.example"}], "level": "internal"}
    calls = {
        f"{name} {vouched}": (tool, words | TAINTED | {"vouched": vouched})
        for vouched in ("system", "public")
        for name, tool, words in (
            ("contact", "mail.send", {"to": ["ann@other.example"]}),
            ("link", "mail.send", link),
            ("page", "web.fetch", page),
        )
    }
    found = await decide_all(with_data(bundle, as_it_is), settings, started, document, calls)
    assert {name: {rule.id for rule in got.rules} for name, got in found.items()} == {
        "contact system": FINE,
        "link system": FINE,
        "page system": FINE,
        "contact public": {"FLOW-002", "PROV-002", "PROV-014"},
        "link public": {"EGR-007", "PROV-008"},
        "page public": {"FLOW-006"},
    }


def test_the_words_of_acts_are_plain_and_lower_case(bundle: Bundle) -> None:
    lists: Any = bundle.data["trionyx"]["flow"]["implied_by"]  # type: ignore[index, call-overload]
    assert set(lists) == set(EFFECTS) - {"read"}
    assert all(words and all(word == word.casefold() for word in words) for words in lists.values())
