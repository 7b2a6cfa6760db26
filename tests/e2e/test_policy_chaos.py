"""The policy cannot be escaped by input or by mistake: the whole proxy, on both engines, with everything going wrong.

The shipped bundle gets one more pack and a treacherous entrypoint; the text of a call chooses what goes wrong. Each
case ends in a refusal that names a rule and in a record, in time, without an effect, and the next good call works.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trionyx_policies.compiler import compile_bundle
from trionyx_testing.client import Served, refused, text_of
from trionyx_testing.parts import need
from trionyx_testing.workspace import Workspace
from trionyx_testing.workspace import bundle as write_bundle

DEADLINE_S = 0.5
SLACK_S = 3.0
"""What a busy machine may add to the deadline; without a deadline the cases below last for hours."""

PACK = """
package trionyx.policy.chaos

ten := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

default wish := ""

wish := split(input.args.text, " #")[0] if is_string(input.args.text)

pack := "chaos" if not wish in {"drop the pack", "rename the pack"}

pack := "mess" if wish == "rename the pack"

# METADATA
# title: Goes wrong in the middle of a rule
# custom: {id: CHAOS-001, severity: low, owner: nobody, remedy: ""}
tenfold(text) := concat("", [text | some i in ten])

ten_to_the_5 := tenfold(tenfold(tenfold(tenfold(tenfold("a")))))

# One search keeps the sandbox busy without taking memory; a server finds at once that it fails, and goes on to loop.
deny contains {"id": "CHAOS-001"} if {
	wish == "spin"
	not contains(tenfold(ten_to_the_5), concat("", [ten_to_the_5, "b"]))
	some a in ten
	some b in ten
	some c in ten
	some d in ten
	some e in ten
	some f in ten
	some g in ten
	some h in ten
	some i in ten
	some j in ten
	a + b + c + d + e + f + g + h + i + j < 0
}

deny contains {"id": "CHAOS-001"} if {
	wish == "eat"
	contains(concat(ten_to_the_5, ["" | some a in ten; some b in ten; some c in ten; some d in ten]), "b")
}

deny contains {"id": "CHAOS-001"} if contradiction == 3

contradiction := 1 if wish == "contradict"

contradiction := 2 if wish == "contradict"

deny contains {"id": "CHAOS-001", "but": "allow"} if wish == "add a member"

deny contains {"id": "CHAOS-001", "pack": "flow"} if wish == "pose as another pack"

# METADATA
# title: Numbers at the edges
# custom: {id: CHAOS-002, severity: low, owner: nobody, remedy: ""}
deny contains {"id": "CHAOS-002"} if input.args.value > 9007199254740990

deny contains {"id": "CHAOS-002"} if input.args.value < -9007199254740990

deny contains {"id": "CHAOS-002"} if {
	input.args.value > 0
	input.args.value < 1e-300
}

deny contains {"id": "CHAOS-002"} if {
	input.args.value > 0.3
	input.args.value < 0.4
}

deny contains {"id": "CHAOS-002"} if input.args.value in {0, 1}

# METADATA
# title: Demands what cannot be read
# custom: {id: CHAOS-003, severity: low, owner: nobody, remedy: ""}
oblige contains {
	"id": "CHAOS-003", "type": "replace_arg", "pointer": "/text", "value": {1: "a", "1": "b"},
} if {
	wish == "repeat a member"
}

oblige contains {"id": "CHAOS-003", "type": "tell", "pointer": "", "value": null} if wish == "demand the unknown"

# METADATA
# title: A label that is none
# custom: {id: CHAOS-004, severity: low, owner: nobody, remedy: ""}
label contains {"id": "CHAOS-004", "label": "harmless"} if wish == "mislabel"
"""

ENTRYPOINT = """
import data.trionyx.policy.chaos

elsewhere := {"say nothing", "say yes", "say too little", "say too much"}

decision := true if chaos.wish == "say yes"

decision := {"allow": [{"id": "CATALOG-100", "pack": "catalog"}]} if chaos.wish == "say too little"

decision := {
	"schema": "trionyx.decision/v1",
	"deny": [],
	"approve": [],
	"allow": [{"id": "CATALOG-100", "pack": "catalog"}],
	"oblige": [],
	"label": [],
	"packs": packs,
	"override": true,
} if chaos.wish == "say too much"

decision := "allow" if chaos.wish == "say two things"
"""

WISHES = {
    "contradict": {"builtin_error"},
    "say two things": {"builtin_error"},
    "say nothing": {"undefined"},
    "say yes": {"ill_typed"},
    "say too little": {"ill_typed"},
    "say too much": {"ill_typed"},
    "add a member": {"ill_typed"},
    "mislabel": {"ill_typed"},
    "pose as another pack": {"builtin_error"},
    "repeat a member": {"duplicate_key", "ill_typed"},
    "drop the pack": {"drift"},
    "rename the pack": {"drift"},
}
"""What a call's text asks for, and the codes that its record may bear."""

numbers = itertools.count()


@dataclass(frozen=True)
class Proxy:
    engine: str
    workspace: Workspace
    served: Served

    def note(self, text: str) -> dict[str, Any] | None:
        return self.served.call("test__note", text=text)

    def recovers(self) -> None:
        """Call until a good call is carried out; an engine that was killed needs a moment."""
        end = time.monotonic() + 20
        text = f"good #{next(numbers)}"
        while (result := self.note(text)) is None or result["isError"]:
            assert refused(result) == ["TRX-ENGINE"] and time.monotonic() < end
        assert text_of(result) == text
        assert self.workspace.effects()[-1]["arguments"] == {"text": text}

    def opa(self) -> int:
        """Return the process id of the OPA child."""
        (found,) = [
            int(entry.name)
            for entry in Path("/proc").glob("[0-9]*")
            if parent(entry) == self.served.process.pid and b"--server" in (entry / "cmdline").read_bytes()
        ]
        return found


def parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture(scope="module")
def treacherous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle, compiled once for both engines."""
    directory = write_bundle(tmp_path_factory.mktemp("treacherous") / "bundle")
    for file in directory.rglob("*_test.rego"):
        file.unlink()
    (directory / "policy/packs/chaos.rego").write_text(PACK)
    main = directory / "policy/main.rego"
    text = main.read_text()
    guarded = text.replace('"packs": packs,\n}', '"packs": packs,\n} if not chaos.wish in elsewhere')
    assert guarded != text
    head, package, rest = guarded.partition("package trionyx.main\n")
    imported, rules = ENTRYPOINT.split("\n\n", 1)
    main.write_text(head + package + imported + "\n" + rest + "\n" + rules)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["packs"].append("chaos")
    (directory / "manifest.json").write_text(json.dumps(manifest))
    compile_bundle(directory, need("opa")).write(directory)
    return directory


@pytest.fixture(scope="module", params=["wasm", "opa"])
def proxy(
    request: pytest.FixtureRequest, treacherous: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    workspace = Workspace.create(
        tmp_path_factory.mktemp(request.param),
        engine=request.param,
        deadline_ms=int(DEADLINE_S * 1000),
        policy="memory_mb = 16",
    )
    shutil.rmtree(workspace.root / "bundle")
    shutil.copytree(treacherous, workspace.root / "bundle")
    with Served(workspace) as served:
        yield Proxy(request.param, workspace, served)


def denied(proxy: Proxy, ask: Callable[[], dict[str, Any] | None]) -> tuple[list[str], dict[str, Any]]:
    """Make a call that must be denied: in time, on record, without effect; return its rules and record."""
    effects, begun = proxy.workspace.effects(), time.monotonic()
    answer = ask()
    lasted = time.monotonic() - begun
    type_, record = proxy.workspace.records()[-1]
    assert type_ == "call.denied"
    if answer is not None and "error" in answer:  # a line without a reading has no call to answer
        assert answer["error"]["code"] == -32700
        rules = record["rules"]
    else:
        rules = refused(answer)
        assert answer is not None and record["call"] == answer["_meta"]["trionyx/call"]
    assert rules and record["rules"] == rules
    assert lasted < DEADLINE_S + SLACK_S
    assert proxy.workspace.effects() == effects
    return rules, record


def raw(proxy: Proxy, tool: str, arguments: str) -> dict[str, Any] | None:
    """Call with arguments as spelled, and return the result, or the answer that holds an error."""
    line = '{"jsonrpc":"2.0","id":"raw","method":"tools/call","params":{"name":"test__%s","arguments":%s}}'
    proxy.served.send_line((line % (tool, arguments)).encode())
    answer: dict[str, Any] = json.loads(proxy.served.line() or b"")
    result: dict[str, Any] = answer.get("result", answer)
    return result


@pytest.mark.guarantee("G13")
@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("wish", WISHES)
def test_a_policy_that_makes_no_sense_denies(proxy: Proxy, wish: str) -> None:
    rules, record = denied(proxy, lambda: proxy.note(wish))
    assert rules == ["TRX-ENGINE"]
    assert record["code"] in WISHES[wish]
    proxy.recovers()


@pytest.mark.guarantee("G03")
def test_a_demand_that_nobody_can_meet_denies(proxy: Proxy) -> None:
    rules, _ = denied(proxy, lambda: proxy.note("demand the unknown"))
    assert rules == ["TRX-OBLIGATION"]


@pytest.mark.guarantee("G13")
def test_a_policy_that_never_ends_is_killed_and_its_call_not_tried_a_third_time(proxy: Proxy) -> None:
    codes = []
    for _ in range(3):
        rules, record = denied(proxy, lambda: proxy.note("spin #forever"))
        assert rules == ["TRX-ENGINE"]
        codes.append(record["code"])
        proxy.recovers()
    assert codes == ["timeout", "timeout", "breaker"]


@pytest.mark.guarantee("G13")
def test_a_policy_that_eats_all_memory_is_stopped(proxy: Proxy) -> None:
    rules, record = denied(proxy, lambda: proxy.note("eat"))
    # A server that is out of memory may take longer to die than the deadline allows.
    codes = {"wasm": {"memory"}, "opa": {"crash", "timeout"}}
    assert rules == ["TRX-ENGINE"] and record["code"] in codes[proxy.engine]
    proxy.recovers()


@pytest.mark.guarantee("G13")
def test_calls_beside_one_that_hangs_end_too(proxy: Proxy) -> None:
    posted = [
        proxy.served.post("tools/call", {"name": "test__note", "arguments": {"text": f"spin #{number}"}})
        for number in range(5)
    ]
    begun, effects = time.monotonic(), proxy.workspace.effects()
    answers = [json.loads(proxy.served.line() or b"") for _ in posted]
    assert {answer["id"] for answer in answers} == set(posted)
    assert {rule for answer in answers for rule in refused(answer["result"])} == {"TRX-ENGINE"}
    assert time.monotonic() - begun < DEADLINE_S + SLACK_S
    assert [type_ for type_, _ in proxy.workspace.records()[-len(posted) :]] == ["call.denied"] * len(posted)
    assert proxy.workspace.effects() == effects
    proxy.recovers()


@pytest.mark.guarantee("G13")
@pytest.mark.parametrize("proxy", ["opa"], indirect=True)
def test_an_opa_child_that_stands_still_is_replaced(proxy: Proxy) -> None:
    child = proxy.opa()
    os.kill(child, signal.SIGSTOP)
    rules, record = denied(proxy, lambda: proxy.note(f"good #{next(numbers)}"))
    assert (rules, record["code"]) == (["TRX-ENGINE"], "timeout")
    proxy.recovers()
    assert proxy.opa() != child


@pytest.mark.guarantee("G13")
@pytest.mark.parametrize("proxy", ["opa"], indirect=True)
def test_an_opa_child_that_dies_at_work_is_replaced(proxy: Proxy) -> None:
    child = proxy.opa()

    def ask() -> dict[str, Any] | None:
        posted = proxy.served.post(
            "tools/call", {"name": "test__note", "arguments": {"text": "spin #killed"}}
        )
        os.kill(child, signal.SIGKILL)
        answer = proxy.served.answer(posted)
        return None if answer is None else answer["result"]

    rules, record = denied(proxy, ask)
    # Killed before the call arrived there, it is replaced first, and the replacement killed at the deadline.
    assert rules == ["TRX-ENGINE"] and record["code"] in {"crash", "timeout"}
    proxy.recovers()
    assert proxy.opa() != child


NUMBERS = {
    "1e308": "CHAOS-002",
    "-1e308": "CHAOS-002",
    "1.7976931348623157e308": "CHAOS-002",
    "5e-324": "CHAOS-002",
    "2.2250738585072014e-308": "CHAOS-002",
    "-0.0": "CHAOS-002",
    "0e99": "CHAOS-002",
    "1.0": "CHAOS-002",
    "100e-2": "CHAOS-002",
    "0.30000000000000004": "CHAOS-002",
    "9007199254740991": "CHAOS-002",
    "-9007199254740991.0": "CHAOS-002",
    "1e309": "TRX-MALFORMED",
    "-1e309": "TRX-MALFORMED",
    "1e-400": "TRX-MALFORMED",
    "9007199254740992": "TRX-MALFORMED",
    "-18446744073709551617": "TRX-MALFORMED",
    "1" + "0" * 400: "TRX-MALFORMED",
    "9" * 5_000: "TRX-MALFORMED",
    "0." + "0" * 5_000 + "1": "TRX-MALFORMED",
    "NaN": "TRX-MALFORMED",
    "-Infinity": "TRX-MALFORMED",
    "0x10": "TRX-MALFORMED",
    "01": "TRX-MALFORMED",
}


@pytest.mark.guarantee("G11")
@pytest.mark.guarantee("G14")
@pytest.mark.parametrize(("number", "rule"), NUMBERS.items(), ids=[number[:24] for number in NUMBERS])
def test_no_number_slips_past_a_rule_about_numbers(proxy: Proxy, number: str, rule: str) -> None:
    rules, _ = denied(proxy, lambda: raw(proxy, "typed", f'{{"value":{number}}}'))
    assert rules == [rule]


@pytest.mark.guarantee("G04")
@pytest.mark.parametrize(
    ("number", "sent"),
    [("7", "7"), ("7.0", "7"), ("-7.5e0", "-7.5"), ("1e-7", "1e-07"), ("0.1", "0.1"), ("4.35", "4.35")],
)
def test_other_numbers_arrive_as_decided(proxy: Proxy, number: str, sent: str) -> None:
    result = raw(proxy, "typed", f'{{"value":{number}}}')
    assert text_of(result) == "?"
    assert json.dumps(proxy.workspace.effects()[-1]["arguments"]["value"]) == sent


LONG = 60_000
VALUES: dict[str, tuple[str, dict[str, Any], str]] = {
    "pattern of the tool": ("typed", {"code": "a" * LONG + "!"}, "TRX-SCHEMA"),
    "local part": ("typed", {"email": "a" * LONG + "!"}, "CATALOG-002"),
    "local part of dots": ("typed", {"email": "a." * (LONG // 2) + "!@corp.example"}, "CATALOG-002"),
    "domain": ("typed", {"email": "a@" + "a-" * (LONG // 2)}, "CATALOG-002"),
    "host": ("typed", {"host": "a." * (LONG // 2) + "!"}, "CATALOG-002"),
    "punycode": ("typed", {"host": "xn--" + "a" * 50 + "-" + "9" * LONG}, "CATALOG-002"),
    "userinfo": ("typed", {"url": "https://" + "a:" * (LONG // 2) + "!"}, "CATALOG-002"),
    "long url": ("typed", {"url": "https://a.example/" + "%41" * (LONG // 3)}, "CATALOG-002"),
    "url of questions": ("typed", {"url": "https://" + "?#" * 4_000}, "CATALOG-002"),
    "port": ("typed", {"url": "https://a.example:" + "9" * 4_000}, "CATALOG-002"),
    "escapes in a path": ("typed", {"path": "/" + "%25" * 1_000 + "2e"}, "CATALOG-002"),
    "path": ("typed", {"path": "/" + "a/" * (LONG // 2)}, "CATALOG-002"),
    "path of dots": ("typed", {"path": "/a" + "/.." * 1_000}, "PATH-001"),
    "date": ("typed", {"date": "2024-01-01T00:00:00." + "0" * LONG}, "CATALOG-002"),
    "amount": ("typed", {"value": "1" * LONG + "!"}, "CATALOG-002"),
    "huge amount": ("typed", {"value": "1e999999999"}, "CATALOG-002"),
    "amount in hex": ("typed", {"value": "0x10"}, "CATALOG-002"),
    "id": ("typed", {"id": "a " * (LONG // 2)}, "CATALOG-002"),
    "nul": ("note", {"text": "a\0b"}, "TRX-MALFORMED"),
    "nul in a name": ("note", {"text\0": "a"}, "TRX-MALFORMED"),
    "long": ("note", {"text": "a" * ((64 << 10) + 1)}, "TRX-MALFORMED"),
    "longer than a line": ("note", {"text": "a" * (4 << 20)}, "TRX-MALFORMED"),
    "long name": ("note", {"a" * 2_000: ""}, "TRX-MALFORMED"),
    "many": ("typed", {"value": [0] * 10_001}, "TRX-MALFORMED"),
    "fairly many": ("typed", {"value": [[]] * 9_000}, "CATALOG-002"),
    "recipients": ("send", {"to": ["a@corp.example"] * 2_000, "body": ""}, "EGR-011"),
    "hidden text": ("send", {"to": ["a@corp.example"], "body": "a\u202e\u200bb"}, "EGR-008"),
    "absent": ("note", {}, "TRX-SCHEMA"),
    "null": ("note", {"text": None}, "TRX-SCHEMA"),
    "other type": ("note", {"text": {"sha256": "0" * 64, "bytes": 5_000}}, "TRX-SCHEMA"),
    "unknown": ("note", {"text": "a", "facts": {"paths": []}}, "TRX-SCHEMA"),
    "not of the type": ("typed", {"value": {"": {}}}, "CATALOG-002"),
}


@pytest.mark.guarantee("G03")
@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(("tool", "arguments", "rule"), VALUES.values(), ids=list(VALUES))
def test_no_value_wears_the_proxy_down(proxy: Proxy, tool: str, arguments: dict[str, Any], rule: str) -> None:
    text = json.dumps(arguments)
    rules, _ = denied(proxy, lambda: raw(proxy, tool, text))
    assert rule in rules


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")], ids=["arrays", "objects"])
@pytest.mark.parametrize(
    ("depth", "rule"), [(30, "CATALOG-002"), (40, "TRX-MALFORMED"), (100_000, "TRX-MALFORMED")]
)
def test_no_depth_wears_the_proxy_down(
    proxy: Proxy, depth: int, rule: str, opening: str, closing: str
) -> None:
    nested = opening * depth + "0" + closing * depth
    rules, _ = denied(proxy, lambda: raw(proxy, "typed", f'{{"value":{nested}}}'))
    assert rule in rules


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "params", [{}, {"arguments": {"text": ""}}, {"name": None}, {"name": "test__note", "arguments": []}]
)
def test_a_call_without_its_members_is_denied(proxy: Proxy, params: dict[str, Any]) -> None:
    def ask() -> dict[str, Any] | None:
        answer = proxy.served.request("tools/call", params)
        return None if answer is None else answer["result"]

    rules, _ = denied(proxy, ask)
    assert rules == ["TRX-MALFORMED"]


@pytest.mark.parametrize("text", ["http://" * 9_000, "www." * 15_000, "a@" * 30_000, "://a." * 12_000])
def test_text_full_of_what_is_almost_a_link_is_read_in_time(proxy: Proxy, text: str) -> None:
    begun = time.monotonic()
    assert text_of(proxy.note(text)) == text
    assert time.monotonic() - begun < DEADLINE_S + SLACK_S


def without_pack(bundle: Path) -> None:
    (bundle / "policy/packs/egress.rego").unlink()


def renamed_file(bundle: Path) -> None:
    (bundle / "policy/packs/flow.rego").rename(bundle / "policy/packs/flaw.rego")


def unlisted_pack(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["packs"].remove("paths")
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def absent_datum(bundle: Path) -> None:
    file = bundle / "data/limits.json"
    document = json.loads(file.read_text())
    del document["trionyx"]["limits"]["max_calls"]
    file.write_text(json.dumps(document))


def changed_source(bundle: Path) -> None:
    pack = bundle / "policy/packs/egress.rego"
    pack.write_text(pack.read_text().replace("deny contains", "forgive contains"))


def cut_module(bundle: Path) -> None:
    module = bundle / "build/policy.wasm"
    module.write_bytes(module.read_bytes()[:-1])


SPOILS = [without_pack, renamed_file, unlisted_pack, absent_datum, changed_source, cut_module]


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("proxy", ["wasm"], indirect=True)
@pytest.mark.parametrize("spoil", SPOILS)
def test_a_spoiled_policy_never_comes_into_force(
    proxy: Proxy, treacherous: Path, spoil: Callable[[Path], None]
) -> None:
    bundle = proxy.workspace.root / "bundle"
    before = len(proxy.workspace.records())
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"revision": 2}))
    spoil(bundle)
    try:
        proxy.served.process.send_signal(signal.SIGHUP)
        while len(proxy.workspace.records()) == before:
            proxy.served.request("ping")
    finally:
        shutil.rmtree(bundle)
        shutil.copytree(treacherous, bundle)
    ((type_, body),) = proxy.workspace.records()[before:]
    assert type_ == "policy.refused" and "does not rise" not in body["reason"]
    rules, _ = denied(proxy, lambda: raw(proxy, "typed", '{"url":"http://10.0.0.1/"}'))
    assert {"EGR-002", "EGR-003", "EGR-004"} <= set(rules)
    proxy.recovers()


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize(
    "spoil", [SPOILS[0], *(pytest.param(spoil, marks=pytest.mark.slow) for spoil in SPOILS[1:])]
)
def test_nothing_starts_on_a_spoiled_policy(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    workspace = Workspace.create(tmp_path)
    spoil(workspace.root / "bundle")
    served = Served(workspace)
    assert served.stop() == 2
    assert workspace.logs() == [] and workspace.effects() == []
    assert served.stderr.read_text().startswith("trionyx-proxy: ")
