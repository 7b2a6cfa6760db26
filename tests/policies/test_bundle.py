"""Loading a bundle: what takes part, what names it, and every way in which it is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.compiler import compile_bundle
from trionyx_policies.errors import BundleError
from trionyx_testing.parts import need


def problems(directory: Path) -> tuple[str, ...]:
    with pytest.raises(BundleError) as caught:
        load_bundle(directory)
    return caught.value.problems


def edit(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document))


def test_a_copy_is_the_same_bundle(bundle: Bundle, directory: Path) -> None:
    assert load_bundle(directory) == bundle


def test_tests_and_readmes_take_no_part(bundle: Bundle, directory: Path) -> None:
    for path in list(directory.rglob("*_test.rego")):
        path.unlink()
    (directory / "README.md").write_text("ours")
    assert load_bundle(directory).digest == bundle.digest


def test_edited_data_needs_no_opa_and_is_another_bundle(
    bundle: Bundle, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("TRIONYX_OPA", raising=False)
    edit(directory / "data/limits.json", lambda data: data["trionyx"]["limits"].update(max_calls=5))
    edit(directory / "manifest.json", lambda manifest: manifest.update(revision=2))
    edited = load_bundle(directory)
    assert edited.data["trionyx"]["limits"]["max_calls"] == 5  # type: ignore[index,call-overload]
    assert edited.revision == 2 and edited.digest != bundle.digest and edited.wasm == bundle.wasm


def test_every_file_that_takes_part_is_in_the_digest(bundle: Bundle, directory: Path) -> None:
    digests = {bundle.digest}
    for name in ("data/egress.json", "manifest.json"):
        (directory / name).write_bytes((directory / name).read_bytes() + b"\n")
        digests.add(load_bundle(directory).digest)
    assert len(digests) == 3


def test_nothing_of_a_loaded_bundle_can_be_exchanged(bundle: Bundle) -> None:
    with pytest.raises(TypeError):
        bundle.rules["X-001"] = bundle.rules["FLOW-001"]  # type: ignore[index]
    with pytest.raises(TypeError):
        bundle.data["trionyx"] = {}  # type: ignore[index]


def replace_text(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(directory: Path) -> None:
        text = (directory / name).read_text()
        assert text.count(old) >= 1
        (directory / name).write_text(text.replace(old, new, 1))

    return change


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).write_text(text)


def remove(name: str) -> Callable[[Path], object]:
    return lambda directory: (directory / name).unlink()


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed rego": (
        replace_text("policy/packs/flow.rego", "labels.tainted", "not labels.tainted"),
        "build/policy.wasm: not compiled from these sources; run trionyx-policy build",
    ),
    "changed wasm": (
        lambda directory: (directory / "build/policy.wasm").write_bytes(b"\0asm\1\0\0\0"),
        "build/policy.wasm: not what the last build made; run trionyx-policy build",
    ),
    "changed index": (
        replace_text("build/rules.json", "CATALOG-100", "CATALOG-101"),
        "build/rules.json: not what the last build made; run trionyx-policy build",
    ),
    "no wasm": (remove("build/policy.wasm"), "build/policy.wasm: missing"),
    "no main": (remove("policy/main.rego"), "policy/main.rego: missing"),
    "no manifest": (remove("manifest.json"), "manifest.json: missing"),
    "a dropped pack": (
        remove("policy/packs/flow.rego"),
        "manifest.json: pack flow has no file policy/packs/flow.rego",
    ),
    "a pack beside the manifest": (
        write("policy/packs/extra.rego", "package trionyx.policy.extra\n"),
        "policy/packs/extra.rego: pack extra is not in the manifest",
    ),
    "a pack struck from the manifest": (
        replace_text("manifest.json", '"flow", "limits"', '"limits"'),
        "manifest.json: mandatory pack flow is not among the packs",
    ),
    "no json": (write("data/limits.json", "{"), "data/limits.json: "),
    "a repeated member": (
        replace_text("data/limits.json", '"max_calls": 2000', '"max_calls": 2000, "max_calls": 9'),
        "data/limits.json: an object repeats a member",
    ),
    "ill-typed data": (
        replace_text("data/limits.json", '"max_calls": 2000', '"max_calls": "many"'),
        'data/limits.json: trionyx.limits.max_calls: "many" is not of type "integer"',
    ),
    "an unknown effect": (
        replace_text("data/catalog.json", '"effect": "egress"', '"effect": "none"'),
        'data/catalog.json: trionyx.catalog.servers.mail.tools.send.effect: "none" is not one of',
    ),
    "an odd word about relaying": (
        replace_text("data/catalog.json", '"relays": true', '"relays": "no"'),
        'data/catalog.json: trionyx.catalog.servers.imap.tools.forward_email.relays: "no" is not of type',
    ),
    "a mistyped member": (
        replace_text("data/limits.json", '"max_calls"', '"max_cals"'),
        "data/limits.json: trionyx.limits: ",
    ),
    "a missing document": (remove("data/egress.json"), 'data: trionyx: "egress" is a required property'),
    "data in two files": (
        write("data/more.json", '{"trionyx": {"limits": {}}}'),
        "data/more.json: trionyx.limits is defined in data/limits.json too",
    ),
    "data that shadows rules": (
        write("data/more.json", '{"trionyx": {"policy": {"flow": {"deny": []}}}}'),
        "data/more.json: trionyx.policy is a place for rules, not data",
    ),
    "data beside trionyx": (
        write("data/more.json", '{"system": {}}'),
        "data/more.json: must be an object with",
    ),
    "a forbidden built-in": (
        replace_text("capabilities.json", '"name": "count"', '"name": "http.send"'),
        "capabilities.json: built-in http.send is not admitted",
    ),
    "another input schema": (
        replace_text("schemas/input.json", '"same_call"', '"same_calls"'),
        "schemas/input.json: must be the host's own, unchanged",
    ),
    "a switch of no rule": (
        replace_text("data/rules.json", '"PROV-002": "ask"', '"PROV-902": "off"'),
        "data/rules.json: trionyx.rules.PROV-902: there is no such rule",
    ),
    "a switch of the catalog's own rules": (
        replace_text("data/rules.json", '"PROV-002": "ask"', '"CATALOG-002": "off"'),
        "data/rules.json: trionyx.rules.CATALOG-002: rules of the pack catalog have no switch",
    ),
    "a switch of a rule that permits": (
        replace_text("data/rules.json", '"PROV-002": "ask"', '"PATH-100": "off"'),
        "data/rules.json: trionyx.rules.PATH-100: the rule neither denies nor asks, and has no switch",
    ),
    "a switch between its positions": (
        replace_text("data/rules.json", '"PROV-002": "ask"', '"PROV-002": "allow"'),
        "data/rules.json: trionyx.rules.PROV-002: ",
    ),
    "an incomplete risk table": (
        replace_text("data/risk.json", '"high": "critical"', '"top": "critical"'),
        "data/risk.json: trionyx.risk.table.",
    ),
    "no data schema": (remove("schemas/data.json"), "schemas/data.json: missing"),
    "a file of no use": (write("data/limits.yaml", ""), "data/limits.yaml: has no place in a bundle"),
    "a revision below one": (
        replace_text("manifest.json", '"revision": 1', '"revision": 0'),
        "manifest.json: revision: ",
    ),
}


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize("name", REFUSED)
def test_a_spoilt_bundle_is_refused_with_a_word_about_why(name: str, directory: Path) -> None:
    spoil, meant = REFUSED[name]
    spoil(directory)
    found = problems(directory)
    assert any(problem.startswith(meant) for problem in found), found
    assert all("\n" not in problem for problem in found)


@pytest.mark.guarantee("G27")
def test_all_problems_are_told_at_once(directory: Path) -> None:
    for name in ("changed rego", "ill-typed data", "a forbidden built-in", "a pack struck from the manifest"):
        REFUSED[name][0](directory)
    found = problems(directory)
    for name in ("changed rego", "ill-typed data", "a forbidden built-in", "a pack struck from the manifest"):
        assert any(problem.startswith(REFUSED[name][1]) for problem in found), name


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == (f"{tmp_path / 'none'}: not a directory",)


def test_more_data_may_be_described_by_the_bundles_own_schema(directory: Path) -> None:
    (directory / "data/teams.json").write_text('{"trionyx": {"teams": {"blue": 1}}}')
    assert any("teams" in problem for problem in problems(directory))
    edit(
        directory / "schemas/data.json", lambda schema: schema["properties"].update(teams={"type": "object"})
    )
    assert problems(directory) == (
        "build/policy.wasm: not compiled from these sources; run trionyx-policy build",
    )


@pytest.mark.guarantee("G15")
def test_the_wasm_and_the_index_are_what_opa_makes_of_the_sources(bundle: Bundle, directory: Path) -> None:
    built = compile_bundle(directory, need("opa")).files
    for name in ("build/policy.wasm", "build/rules.json"):
        assert built[name] == bundle.files[name], name
    receipt = json.loads(built["build/build.json"]) | {"opa": "any"}
    assert receipt == json.loads(bundle.files["build/build.json"]) | {"opa": "any"}
