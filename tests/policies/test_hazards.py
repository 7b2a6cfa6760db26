"""Mistakes and malice in Rego itself, on both engines: each ends in an error or a denial, within the deadline."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.compiler import compile_bundle
from trionyx_policies.decision import Outcome
from trionyx_policies.engine import EngineSettings
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError
from trionyx_policies.schema import SHIPPED
from trionyx_testing.parts import need

pytestmark = [pytest.mark.anyio, pytest.mark.guarantee("G13"), pytest.mark.guarantee("G03")]

DEADLINE_S = 0.4
SLACK_S = 3.0  # for a busy machine; what has no end has passed it by any measure

# A pack in which the agent's name chooses what goes wrong.
_HAZARDS = """
package trionyx.policy.hazards

ten := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

pack := "hazards" if input.run.agent != "drops a pack"

# METADATA
# title: Never fires by itself
# custom: {id: HAZ-001, severity: low, owner: nobody, remedy: ""}
deny contains {"id": "HAZ-001"} if contradiction == 3

deny contains {"id": "HAZ-001"} if {
	input.run.agent == "spins"
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

deny contains {"id": "HAZ-001"} if {
	input.run.agent == "eats"
	count([[a, b, c, d, e, f, g, h, i] |
		some a in ten
		some b in ten
		some c in ten
		some d in ten
		some e in ten
		some f in ten
		some g in ten
		some h in ten
		some i in ten
	]) == 3
}

deny contains {"id": "HAZ-001", "pack": "flow"} if input.run.agent == "poses as another pack"

deny contains {"id": "HAZ-001", "unless": "asked"} if input.run.agent == "adds a member"

contradiction := 1 if input.run.agent == "contradicts itself"

contradiction := 2 if input.run.agent == "contradicts itself"

# METADATA
# title: A label that is none
# custom: {id: HAZ-002, severity: low, owner: nobody, remedy: ""}
label contains {"id": "HAZ-002", "label": "secret"} if input.run.agent == "mislabels"

# METADATA
# title: Demands
# custom: {id: HAZ-003, severity: low, owner: nobody, remedy: ""}
oblige contains {"id": "HAZ-003", "type": "notify", "pointer": "", "value": null} if input.run.agent == "wants a pager"

oblige contains {
	"id": "HAZ-003", "type": "replace_arg", "pointer": "/a", "value": {1: "a", "1": "b"},
} if {
	input.run.agent == "repeats a member"
}
"""

HAZARDS: dict[str, set[EvaluationCode | Outcome]] = {
    "spins": {EvaluationCode.TIMEOUT, EvaluationCode.MEMORY},  # a sandbox frees nothing while it evaluates
    "eats": {EvaluationCode.MEMORY, EvaluationCode.TIMEOUT, EvaluationCode.CRASH},
    "contradicts itself": {EvaluationCode.BUILTIN_ERROR},
    "is undefined": {EvaluationCode.UNDEFINED},
    "drops a pack": {EvaluationCode.DRIFT},
    "poses as another pack": {EvaluationCode.BUILTIN_ERROR},
    "adds a member": {EvaluationCode.ILL_TYPED},
    "mislabels": {EvaluationCode.ILL_TYPED},
    "wants a pager": {Outcome.DENY},
    "repeats a member": {EvaluationCode.DUPLICATE_KEY, EvaluationCode.ILL_TYPED},
}


@pytest.fixture(scope="module")
def hazards(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = Path(shutil.copytree(SHIPPED, tmp_path_factory.mktemp("hazards") / "bundle"))
    (directory / "policy/packs/hazards.rego").write_text(_HAZARDS)
    main = directory / "policy/main.rego"
    main.write_text(
        main.read_text().replace(
            '"packs": packs,\n}', '"packs": packs,\n} if input.run.agent != "is undefined"'
        )
    )
    manifest = directory / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"flow", "limits"', '"flow", "hazards", "limits"'))
    compile_bundle(directory, need("opa")).write(directory)
    return load_bundle(directory)


@pytest.mark.parametrize("name", HAZARDS)
async def test_a_hazard_never_allows_and_never_lasts(
    hazards: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes], name: str
) -> None:
    settings = replace(settings, deadline_ms=int(DEADLINE_S * 1000), memory_mb=16)
    async with started(hazards, settings) as point:
        begun = time.monotonic()
        try:
            found: EvaluationCode | Outcome = (
                await point.decide(document("mail.list", run={"agent": name}, args_sha256="1" * 64))
            ).outcome
        except EvaluationError as error:
            found = error.code
        lasted = time.monotonic() - begun
        calm = await _until_it_answers(
            point, document("mail.list", run={"agent": "calm"}, args_sha256="2" * 64)
        )
    assert found in HAZARDS[name]
    assert lasted < DEADLINE_S + SLACK_S
    assert calm is Outcome.ALLOW


async def _until_it_answers(point: Any, document: bytes) -> Outcome:
    for _ in range(20):
        try:
            return Outcome((await point.decide(document)).outcome)
        except EvaluationError as error:
            assert error.code in {EvaluationCode.CRASH, EvaluationCode.TIMEOUT}
    raise AssertionError("the engine does not recover")


@pytest.mark.parametrize(
    "expression",
    [
        'regex.match("(a+)+$", input.run.agent)',
        'net.cidr_contains("10.0.0.0/8", input.run.agent)',
        "to_number(input.run.agent) > 1",
        "1 / input.run.calls > 1",
        "input.run.calls % input.run.denied == 0",
        "json.unmarshal(input.run.agent).x",
        "yaml.unmarshal(input.run.agent).x",
        "time.parse_rfc3339_ns(input.run.agent) > time.now_ns()",
        'http.send({"method": "get", "url": "https://x.example"}).status_code == 200',
        "opa.runtime().env.HOME",
        'sprintf("%d", [input.run.calls]) == "1"',
        "count(numbers.range(0, input.run.calls)) > 5",
        "bits.lsh(1, input.run.calls) > 5",
        'glob.match("*a*a*a*b", [], input.run.agent)',
        'replace(input.run.agent, "", "x") == ""',
        "input.run.agnt == 1",
        "inptu.run.agent == 1",
        "input.run.calls == input.run.agent",
    ],
)
def test_rego_that_can_fail_or_hang_does_not_build(directory: Path, expression: str) -> None:
    pack = directory / "policy/packs/limits.rego"
    pack.write_text(pack.read_text() + f'\ndeny contains {{"id": "LIM-001"}} if {expression}\n')
    with pytest.raises(BundleError) as caught:
        compile_bundle(directory, need("opa"))
    assert all(problem.startswith("policy/packs/limits.rego:") for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        ('deny contains {"id": "LIM-001"}', 'deny contains {"id": input.run.agent}', "a literal id"),
        ('deny contains {"id": "LIM-001"}', "deny := true", "conflicting rules"),
        ('deny contains {"id": "LIM-001"}', 'deny contains "LIM-001"', "a literal id"),
        ("#   id: LIM-001\n", "", "METADATA lacks custom.id"),
        ("#   owner: platform\n#   remedy: Start a new run.\n", "", "METADATA lacks custom.owner"),
        ("id: LIM-001", "id: LIM-002", "rule LIM-002 is described twice"),
        ('{"id": "LIM-001"}', '{"id": "LIM-007"}', "rule LIM-007 has no METADATA"),
    ],
)
def test_rules_that_the_index_cannot_describe_do_not_build(
    directory: Path, old: str, new: str, meant: str
) -> None:
    pack = directory / "policy/packs/limits.rego"
    assert old in pack.read_text()
    pack.write_text(pack.read_text().replace(old, new, 1))
    with pytest.raises(BundleError) as caught:
        compile_bundle(directory, need("opa"))
    assert any(meant in problem for problem in caught.value.problems), caught.value.problems


async def test_a_renamed_pack_does_not_start(directory: Path, settings: EngineSettings, started: Any) -> None:
    pack = directory / "policy/packs/limits.rego"
    pack.write_text(pack.read_text().replace("package trionyx.policy.limits", "package trionyx.policy.limit"))
    for test in directory.rglob("*_test.rego"):
        test.unlink()
    compile_bundle(directory, need("opa")).write(directory)
    with pytest.raises((EngineError, BundleError)):
        async with started(load_bundle(directory), settings):
            pytest.fail("a renamed pack went unnoticed")
