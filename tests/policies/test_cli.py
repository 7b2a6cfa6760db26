"""`trionyx-policy`: exit codes, one clear line per problem, nothing written that was not asked for."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trionyx_policies.bundle import load_bundle
from trionyx_policies.cli import main
from trionyx_policies.errors import EngineError
from trionyx_policies.install import install_opa
from trionyx_policies.toolchain import find_opa
from trionyx_policies.trials import run_tests
from trionyx_testing.parts import need

pytestmark = pytest.mark.guarantee("G27")


@pytest.fixture
def without_opa(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with pip alone: whatever is asked for from outside is not there."""
    monkeypatch.setenv("TRIONYX_OPA", "/nonexistent/opa")


def complaints(captured: pytest.CaptureFixture[str]) -> list[str]:
    lines = captured.readouterr().err.splitlines()
    assert all(line.startswith("trionyx-policy: ") for line in lines)
    return [line.removeprefix("trionyx-policy: ") for line in lines]


@pytest.mark.usefixtures("without_opa")
def test_check_needs_no_opa(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    captured = capsys.readouterr()
    assert f"digest {load_bundle().digest}" in captured.out
    assert captured.err.startswith(
        "trionyx-policy: the sources are not checked: /nonexistent/opa: cannot be started"
    )


@pytest.mark.usefixtures("without_opa")
def test_check_names_what_is_switched_off(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rules = directory / "data/rules.json"
    rules.write_text('{"trionyx": {"rules": {"LIM-001": "off", "LIM-002": "ask", "FLOW-020": "off"}}}')
    assert main(["check", str(directory)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")] == [
        "note: data/rules.json: switched off: FLOW-020, LIM-001",
    ]


@pytest.mark.usefixtures("without_opa")
def test_check_names_fields_that_are_looked_for_in_the_wrapping(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = directory / "data/catalog.json"
    found = json.loads(path.read_text())
    label = {"type": "id", "label": "system"}
    worth = {"categories": [], "integrity": "public", "level": "internal", "readers": "*"}
    places = {
        "wrapped": ["/result/*/id", "/result"],
        "both": ["", "/result/id"],
        "beside": ["/result/*/id", "/count"],
        "other": ["/results/*/id"],
        "whole": [""],
    }
    tools = {
        name: {
            "effect": "read",
            "args": {},
            "result": worth,
            "clearance": worth,
            "fields": dict.fromkeys(fields, label),
        }
        for name, fields in places.items()
    }
    found["trionyx"]["catalog"]["servers"]["mine"] = {"tools": tools}
    path.write_text(json.dumps(found))
    assert main(["check", str(directory)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "catalog.json" in line]
    assert [note.partition(":")[2].partition(": fields")[0] for note in notes] == [
        " data/catalog.json: mine.both",
        " data/catalog.json: mine.wrapped",
    ]


@pytest.mark.usefixtures("without_opa")
def test_check_names_agents_that_list_each_other_on_one_side_only(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = directory / "data/peers.json"
    clearance = {"categories": "*", "integrity": "org", "level": "internal", "readers": []}
    found = json.loads(path.read_text())
    found["trionyx"]["peers"] = {
        "boss": {"send_to": ["clerk", "gone"], "receive_from": ["clerk"], "clearance": clearance},
        "clerk": {"send_to": [], "receive_from": ["boss"], "clearance": clearance},
    }
    path.write_text(json.dumps(found))
    assert main(["check", str(directory)]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if "peers.json" in line]
    assert notes == [
        "note: data/peers.json: `boss` lists `clerk` in receive_from, and `clerk` does not list `boss` in send_to",
        "note: data/peers.json: `boss` lists `gone` in send_to, and `gone` does not list `boss` in receive_from",
    ]


def test_check_looks_at_the_sources_where_opa_is(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = directory / "policy/packs/limits.rego"
    pack.write_text(pack.read_text().replace("input.run.calls", "input.run.call"))
    assert main(["check", "--opa", str(need("opa")), str(directory)]) == 1
    found = complaints(capsys)
    assert any(line.startswith("policy/packs/limits.rego:") and "undefined ref" in line for line in found)
    assert "build/policy.wasm: not compiled from these sources; run trionyx-policy build" in found


@pytest.mark.usefixtures("without_opa")
def test_check_finds_bad_data_without_opa(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    limits = directory / "data/limits.json"
    limits.write_text(
        limits.read_text().replace("2000", "-1").replace('"max_denied": 50', '"max_denied": "x"')
    )
    assert main(["check", str(directory)]) == 1
    assert [line for line in complaints(capsys) if line.startswith("data/")] == [
        "data/limits.json: trionyx.limits.max_calls: -1 is less than the minimum of 0",
        'data/limits.json: trionyx.limits.max_denied: "x" is not of type "integer"',
    ]


@pytest.mark.usefixtures("without_opa")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["check", "/nonexistent/dir"], "/nonexistent/dir: not a directory"),
        (["build", "/nonexistent/dir"], "/nonexistent/dir: not a directory"),
        (["test"], "/nonexistent/opa: cannot be started (No such file or directory)"),
        (["init", os.sep], "/: exists and is not empty"),
    ],
)
def test_what_cannot_be_done_is_said_once(
    command: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command) == 2
    assert complaints(capsys) == [message]


def test_build_makes_edited_rego_loadable(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = directory / "policy/packs/limits.rego"
    pack.write_text(pack.read_text().replace("Start a new run.", "Ask for a larger budget."))
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert main(["build", "--opa", str(need("opa")), str(directory)]) == 0
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"rules.json", "build.json"}  # comments leave the compiled policy as it is
    assert load_bundle(directory).rules["LIM-001"].remedy == "Ask for a larger budget."
    assert load_bundle(directory).digest in capsys.readouterr().out


def test_a_failed_build_writes_nothing(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = directory / "policy/packs/limits.rego"
    pack.write_text(pack.read_text() + "\ndeny contains {")
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    assert main(["build", "--opa", str(need("opa")), str(directory)]) == 1
    assert complaints(capsys)[0].startswith("policy/packs/limits.rego:")
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("without_opa")
def test_init_gives_a_bundle_to_edit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "policy"
    assert main(["init", str(target)]) == 0
    assert load_bundle(target) == load_bundle()
    assert main(["check", str(target)]) == 0
    assert main(["init", str(target)]) == 2
    assert f"{target}: exists and is not empty" in complaints(capsys)


def test_rego_of_the_shipped_bundle_is_formatted_and_its_tests_pass(directory: Path) -> None:
    report = run_tests(directory, need("opa"), mutants=False)
    assert report.failures == () and report.uncovered == ()
    assert report.line_coverage == 100.0


@pytest.mark.slow
def test_every_shipped_rule_is_shown_to_fire_and_not_to_fire(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["test", "--opa", str(need("opa")), str(directory)]) == 0
    assert "every rule id is shown to fire and not to fire" in capsys.readouterr().out


@pytest.mark.slow
def test_a_rule_without_a_test_is_found(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pack in ("catalog", "egress", "flow", "paths"):
        (directory / f"policy/packs/{pack}_test.rego").unlink()
        (directory / f"policy/packs/{pack}.rego").write_text(f"package trionyx.policy.{pack}\n")
    (directory / "policy/main_test.rego").unlink()
    tests = directory / "policy/packs/limits_test.rego"
    tests.write_text(
        tests.read_text().replace('{"denied": 5}) == {"LIM-004"}', '{"denied": 5}) != {"LIM-001"}')
    )
    assert main(["test", "--opa", str(need("opa")), "--threshold", "0", str(directory)]) == 1
    assert complaints(capsys) == ["LIM-004: no test shows that it fires"]


@pytest.mark.slow
def test_a_failing_rego_test_is_told(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests = directory / "policy/packs/limits_test.rego"
    tests.write_text(tests.read_text().replace('== {"LIM-004"}', '== {"LIM-005"}'))
    assert main(["test", "--opa", str(need("opa")), str(directory)]) == 1
    assert any("test_denials_are_limited: FAIL" in line for line in complaints(capsys))


def fake(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_an_old_opa_is_refused(tmp_path: Path) -> None:
    old = fake(tmp_path / "opa", "echo 'Version: 1.21.2'")
    with pytest.raises(EngineError, match=r"opa 1\.21\.2 is older than 1.21.3"):
        find_opa(old)


def test_without_go_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineError, match=r"no go toolchain found; install Go .* TRIONYX_OPA"):
        install_opa(tmp_path / "bin")


@pytest.mark.parametrize(
    ("go", "message"),
    [
        ("echo 'module not found' >&2; exit 1", "go install failed: module not found"),
        (
            "printf '#!/bin/sh\\necho Version: 1.21.9\\n' > $GOBIN/opa; /bin/chmod 755 $GOBIN/opa",
            "is not opa 1.22.0",
        ),
        ("printf '#!/bin/sh\\necho Version: 1.22.0\\n' > $GOBIN/opa; /bin/chmod 755 $GOBIN/opa", None),
    ],
)
def test_what_go_makes_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, go: str, message: str | None
) -> None:
    (tmp_path / "path").mkdir()
    fake(tmp_path / "path" / "go", go)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    if message is None:
        assert install_opa(tmp_path / "bin") == tmp_path / "bin" / "opa"
        fake(tmp_path / "path" / "go", "exit 1")
        assert install_opa(tmp_path / "bin") == tmp_path / "bin" / "opa"
    else:
        with pytest.raises(EngineError, match=message):
            install_opa(tmp_path / "bin")


def test_the_index_names_every_rule_once(directory: Path) -> None:
    entries = json.loads((directory / "build/rules.json").read_bytes())["rules"]
    identities = [entry["id"] for entry in entries]
    assert identities == sorted(set(identities)) and len(identities) == len(load_bundle().rules)
