"""`trionyx-proxy` as an operator meets it: set up, checked, and refused with every problem in one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from trionyx_proxy.cli import main
from trionyx_testing.capture import output_of
from trionyx_testing.client import Served, text_of
from trionyx_testing.workspace import Workspace, toolserver


def refused(
    capsys: pytest.CaptureFixture[str], workspace: Workspace, command: str = "serve"
) -> tuple[int, list[str]]:
    """Run a command that must fail; return its exit code and its messages, and check that nothing was begun."""
    code = main([command, "--config", str(workspace.config)])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not (workspace.root / "audit").exists()
    messages = printed.err.splitlines()
    assert messages and all(message.startswith("trionyx-proxy: ") for message in messages)
    assert not any("Error" in message or "Traceback" in message for message in messages)
    return code, [message.removeprefix("trionyx-proxy: ") for message in messages]


def edited(workspace: Workspace, old: str, new: str) -> None:
    text = workspace.config.read_text()
    assert old in text
    workspace.config.write_text(text.replace(old, new))


@pytest.mark.guarantee("G27")
def test_every_problem_of_a_configuration_is_named_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace.create(tmp_path)
    edited(workspace, 'engine = "wasm"', 'engine = "prolog"')
    edited(workspace, "deadline_ms = 5000", "dedline_ms = 5000")
    edited(workspace, 'catalog = "test"', "catalog = 7")
    code, messages = refused(capsys, workspace)
    assert code == 2
    for place in ("policy.engine", "audit.dedline_ms", "upstreams.test.catalog"):
        assert sum(message.startswith(place + ":") for message in messages) == 1, messages


def other_vkey(workspace: Workspace) -> None:
    (workspace.root / "audit.key.vkey").write_text("corp.example/other+00000000+AAAA\n")


BREAKAGES: dict[str, tuple[Callable[[Workspace], object], str]] = {
    "no configuration": (lambda space: space.config.unlink(), "config.toml"),
    "not toml": (lambda space: space.config.write_text("[policy"), "toml"),
    "no audit key": (lambda space: (space.root / "audit.key").unlink(), "audit.key"),
    "audit key readable by others": (lambda space: (space.root / "audit.key").chmod(0o644), "audit.key"),
    "audit key is no key": (lambda space: (space.root / "audit.key").write_text("x"), "audit.key"),
    "no launcher key": (lambda space: (space.root / "launcher.pub").unlink(), "launcher_public_key"),
    "no upstream command": (
        lambda space: edited(space, "command = [", 'command = ["/nonexistent/tool", '),
        "upstreams.test.command",
    ),
    "a key for other logs": (other_vkey, "audit.origin"),
    "an unknown catalog section": (
        lambda space: edited(space, 'catalog = "test"', 'catalog = "tset"'),
        "upstreams.test.catalog",
    ),
    "no bundle": (lambda space: edited(space, 'bundle = "bundle"', 'bundle = "absent"'), "policy"),
    "bundle without a pack": (
        lambda space: (space.root / "bundle/policy/packs/flow.rego").unlink(),
        "policy",
    ),
    "bundle with changed rules": (
        lambda space: (space.root / "bundle/policy/packs/flow.rego").write_text("package x\n"),
        "policy",
    ),
    "bundle data of the wrong shape": (
        lambda space: (space.root / "bundle/data/limits.json").write_text(
            '{"trionyx":{"limits":{"max_calls":"many"}}}'
        ),
        "limits",
    ),
    "policy that is no wasm": (
        lambda space: (space.root / "bundle/build/policy.wasm").write_bytes(b"\0asm"),
        "policy",
    ),
}


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize("name", BREAKAGES)
def test_what_cannot_be_used_is_named_and_nothing_is_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    workspace = Workspace.create(tmp_path)
    spoil, mentioned = BREAKAGES[name]
    spoil(workspace)
    for command in ("check", "serve"):
        code, messages = refused(capsys, workspace, command)
        assert code == 2
        assert any(mentioned in message for message in messages), messages


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize("token", ["x", "a.b.c", ""])
def test_a_run_token_that_vouches_for_nothing_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    workspace = Workspace.create(tmp_path)
    edited(workspace, 'unregistered = "allow"', 'unregistered = "refuse"')
    monkeypatch.setenv("TRIONYX_RUN_TOKEN", token)
    code, messages = refused(capsys, workspace)
    assert code == 2 and messages[0].startswith("run token: ")


def test_a_new_working_directory_lacks_tool_servers_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "work"
    assert "wrote" in output_of(main, ["init", str(place), "--origin", "corp.example/trionyx"])
    assert main(["check", "--config", str(place / "config.toml")]) == 2
    assert capsys.readouterr().err == "trionyx-proxy: upstreams: at least one upstream is required\n"
    with (place / "config.toml").open("a") as config:
        config.write(toolserver("mail", catalog="mail"))
    assert "no problems" in output_of(main, ["check", "--config", str(place / "config.toml")])
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in place.glob("*.key")}
    assert modes == {"audit.key": "0o600", "launcher.key": "0o600"}
    assert (place / "audit.key.vkey").read_text().startswith("corp.example/trionyx+")


def test_a_working_directory_is_never_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output_of(main, ["init", str(tmp_path / "work")])
    before = {path: path.read_bytes() for path in (tmp_path / "work").iterdir() if path.is_file()}
    assert main(["init", str(tmp_path / "work")]) == 2
    assert "exists" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in before} == before


def test_a_minted_run_is_served_under_its_identity(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    (tmp_path / "prompt.txt").write_text("Write to dana@corp.example about /notes/a.md.")
    order = [
        "mint",
        "--config",
        str(workspace.config),
        "--agent",
        "inbox",
        "--user",
        "emma",
        "--tenant",
        "acme",
    ]
    minted = json.loads(output_of(main, [*order, "--prompt-file", str(tmp_path / "prompt.txt")]))
    assert minted["env"] == {"TRIONYX_RUN_TOKEN": minted["token"]}
    with Served(workspace, minted["env"]) as served:
        assert text_of(served.call("test__echo", text="x")) == "x"
        environment = Path(f"/proc/{served.process.pid}/environ").read_bytes()
    assert minted["token"].encode() in environment  # the kernel's copy; children and reports get none
    bodies = [body for type_, body in workspace.records() if type_.startswith(("run.", "call."))]
    assert {(body["run"], body["agent"], body["user"], body["tenant"]) for body in bodies} == {
        (minted["run"], "inbox", "emma", "acme")
    }
    kept = b"".join(path.read_bytes() for path in (tmp_path / "state").iterdir())
    assert b"Write to" not in kept and minted["token"].encode() not in kept


def test_a_log_that_was_cut_is_not_continued(tmp_path: Path) -> None:
    import shutil

    workspace = Workspace.create(tmp_path)
    order = ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"]
    env = json.loads(output_of(main, order, stdin=""))["env"]
    with Served(workspace, env) as served:
        text_of(served.call("test__secret"))
    shutil.rmtree(workspace.root / "audit")
    served = Served(workspace, env)
    assert served.stop() == 4
    assert "cut" in served.stderr.read_text()


def test_upstreams_that_share_nothing_may_share_a_catalog_section(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path, upstreams=toolserver("one") + toolserver("two"))
    with Served(workspace) as served:
        answer = served.request("tools/list")
        assert answer is not None
        names = {tool["name"] for tool in answer["result"]["tools"]}
        assert {"one__echo", "two__echo"} <= names
