"""What a hostile agent, tool server or neighbour can do to the process, each once found and since contained."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import termios
import threading
from pathlib import Path

import pytest

from trionyx_proxy.cli import main
from trionyx_testing.capture import output_of
from trionyx_testing.client import Served, refused, serve_command, text_of
from trionyx_testing.workspace import Workspace, toolserver


def minted(workspace: Workspace) -> dict[str, str]:
    order = ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"]
    env: dict[str, str] = json.loads(output_of(main, order, stdin=""))["env"]
    return env


def resident_kb(served: Served) -> int:
    status = Path(f"/proc/{served.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def has_stopped_reading(served: Served) -> bool:
    """Tell whether the proxy lets lines lie in its input, and no thread of it has done anything for a while."""

    def waiting() -> bytes:
        count = fcntl.ioctl(served._to, termios.FIONREAD, bytes(4))
        threads = Path(f"/proc/{served.process.pid}/task").glob("*/status")
        states = [re.sub(r".*State:\s*(.).*", r"\1", status.read_text(), flags=re.S) for status in threads]
        return count if any(count) and set(states) == {"S"} else b""

    first = waiting()
    return bool(first) and all(waiting() == first for _ in range(200))


def types(workspace: Workspace) -> list[str]:
    return [type_ for type_, _ in workspace.records()]


@pytest.mark.guarantee("G03")
def test_an_id_that_cannot_be_written_back_does_not_end_the_proxy(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        for id_ in (b"100000000000000000000", b'"\\ud800"', b'"' + b"x" * 10_000 + b'"'):
            served.send_line(b'{"jsonrpc":"2.0","id":%s,"method":"ping","method":"ping"}' % id_)
            answer = json.loads(served.line() or b"")
            assert (answer["id"], answer["error"]["code"]) == (None, -32700)
        assert served.stop() == 0
    assert types(workspace)[-1] == "run.close"


@pytest.mark.guarantee("G23")
@pytest.mark.guarantee("G28")
def test_a_content_type_that_is_no_text_costs_its_own_call(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        assert refused(served.call("test__odd_type")) == ["TRX-UPSTREAM"]
        assert text_of(served.call("test__echo", text="still here")) == "still here"
    assert types(workspace).count("call.outcome") == 2
    assert "canary" not in served.stderr.read_text()


def test_a_state_file_that_somebody_holds_does_not_end_the_proxy(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        text_of(served.call("test__echo", text="1"))
        other = sqlite3.connect(tmp_path / "state/runs.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        text_of(served.call("test__echo", text="2"))
        while "could not be written" not in served.stderr.read_text():
            served.request("ping")
        other.execute("ROLLBACK")
        other.close()
        assert text_of(served.call("test__echo", text="3")) == "3"
        assert served.stop() == 0


@pytest.mark.guarantee("G23")
def test_calls_of_a_tool_that_stops_reading_end(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path, limits="call_timeout_ms = 300")
    with Served(workspace) as served:
        assert text_of(served.call("test__deaf")) == "reads nothing from now on"
        large = {"name": "test__echo", "arguments": {"text": "y" * 60_000}}
        posted = [served.post("tools/call", large) for _ in range(4)]
        answered = [json.loads(served.line() or b"") for _ in posted]
        assert sorted(answer["id"] for answer in answered) == posted
        assert all(refused(answer["result"]) == ["TRX-UPSTREAM"] for answer in answered)


@pytest.mark.guarantee("G23")
def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    read, write = os.pipe()
    served = Served(workspace, stderr=write)
    os.close(write)
    served.initialize()
    assert text_of(served.call("test__chatty")) == "said much"
    assert text_of(served.call("test__echo", text="x")) == "x"
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(30) == 0
    os.close(read)
    served.stop()
    assert types(workspace)[-1] == "run.close"


def test_a_closed_log_costs_no_call(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    read, write = os.pipe()
    served = Served(workspace, stderr=write)
    os.close(write)
    served.initialize()
    os.close(read)
    assert text_of(served.call("test__chatty")) == "said much"
    served.stop()
    assert types(workspace)[-2:] == ["call.outcome", "run.close"]


def test_ten_thousand_notices_of_a_changed_list_cost_one_reading(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        text_of(served.call("test__echo", text="x"))
        before = resident_kb(served)
        assert text_of(served.call("test__restless")) == "changed much"
        assert text_of(served.call("test__echo", text="y")) == "y"
        assert resident_kb(served) - before < 60_000


def test_an_agent_that_reads_no_answers_is_read_no_further(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        before = resident_kb(served)
        lines = b"".join(b'{"jsonrpc":"2.0","id":%d,"method":"ping"}\n' % number for number in range(1_000))
        sent = 0

        def push() -> None:
            nonlocal sent
            for _ in range(60):
                try:
                    os.write(served._to, lines)
                except OSError:
                    return
                sent += 1

        thread = threading.Thread(target=push, daemon=True)
        thread.start()
        # Answers nobody takes fill two pipes and the bounded queue; then reading stops.
        while thread.is_alive() and not has_stopped_reading(served):
            pass
        assert thread.is_alive() and sent < 60
        assert resident_kb(served) - before < 30_000
        served.kill()
        thread.join()


@pytest.mark.guarantee("G21")
def test_hundreds_of_unclassified_tools_are_recorded_and_hide_no_other(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path, upstreams=toolserver(env={"TOOL_MODE": "many"}))
    with Served(workspace) as served:
        listed = served.request("tools/list")
        assert listed is not None and len(listed["result"]["tools"]) >= 16
    withheld = [
        tool for type_, body in workspace.records() if type_ == "tools.offered" for tool in body["withheld"]
    ]
    assert len(withheld) == 901


def test_a_label_too_long_for_a_record_is_refused_with_the_policy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = Workspace.create(tmp_path)
    path = workspace.root / "bundle/data/catalog.json"
    data = json.loads(path.read_text())
    result = data["trionyx"]["catalog"]["servers"]["test"]["tools"]["secret"]["result"]
    result["readers"] = [f"person.{number}@corp.example" for number in range(900)]
    path.write_text(json.dumps(data))
    assert main(["check", "--config", str(workspace.config)]) == 2
    assert "readers" in capsys.readouterr().err


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("version", ["2099-01-01", []])
def test_a_call_that_breaks_the_protocol_is_recorded(tmp_path: Path, version: object) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        meta = {"io.modelcontextprotocol/protocolVersion": version}
        params = {"name": "test__echo", "arguments": {"text": "x"}, "_meta": meta}
        answer = served.request("tools/call", params)
        assert answer is not None and "error" in answer
        type_, body = workspace.records()[-1]
        assert (type_, body["code"], body["subject"]) == ("call.denied", "malformed", "tools/call")


def test_a_malformed_line_with_an_id_is_recorded_once(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        served.send_line(b'{"jsonrpc":"2.0","id":"m","method":"tools/call","method":"tools/call"}')
        answer = served.answer("m")
        assert answer is not None and answer["error"]["code"] == -32700
        assert served.request("ping") is not None
    assert types(workspace).count("call.denied") == 1


@pytest.mark.guarantee("G21")
def test_a_descriptor_stays_pinned_for_the_whole_run(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    env = minted(workspace)
    with Served(workspace, env) as served:
        text_of(served.call("test__echo", text="x"))
    workspace.config.write_text(
        workspace.config.read_text().replace("TOOL_JOURNAL", 'TOOL_MODE = "drift", TOOL_JOURNAL')
    )
    with Served(workspace, env) as served:
        assert refused(served.call("test__echo", text="x")) == ["TRX-UNKNOWN-TOOL"]


@pytest.mark.guarantee("G06")
def test_a_raised_floor_holds_for_runs_minted_before(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    env = minted(workspace)
    floor = 'floor = { integrity = "public", level = "secret", readers = [], categories = [] }'
    workspace.config.write_text(
        workspace.config.read_text().replace('unregistered = "allow"', f'unregistered = "allow"\n{floor}')
    )
    with Served(workspace, env):
        pass
    (opened,) = [body for type_, body in workspace.records() if type_ == "run.open"]
    assert (opened["label"]["level"], opened["label"]["readers"]) == ("secret", [])


def test_the_null_device_is_the_end_of_input(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    null = subprocess.DEVNULL
    served = subprocess.run(
        serve_command(workspace), stdin=null, stdout=null, stderr=null, timeout=60, check=False
    )
    assert served.returncode == 0


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize("inside", ["bundle/data", "audit/run", "state/x", "launcher.pub", "config.toml"])
def test_a_tool_server_is_not_handed_a_part_of_what_holds_it_to_account(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], inside: str
) -> None:
    workspace = Workspace.create(tmp_path)
    (tmp_path / inside).exists() or (tmp_path / inside).mkdir(parents=True)
    for spelling in ("{}", "file://{}", "-R{}", "/usr:{}", "--mount=src={}"):
        argument = spelling.format(tmp_path / inside)
        text = workspace.config.read_text()
        spoilt = text.replace('"trionyx_testing.toolserver"', f'"trionyx_testing.toolserver", "{argument}"')
        (tmp_path / "config.toml").write_text(spoilt)
        assert main(["check", "--config", str(tmp_path / "config.toml")]) == 2, spelling
        assert "reaches" in capsys.readouterr().err
        (tmp_path / "config.toml").write_text(text)
