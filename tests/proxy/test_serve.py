"""The real process end to end: a client, `trionyx-proxy serve`, a real tool server, the shipped rules, a real log."""

from __future__ import annotations

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trionyx_testing.client import Served, refused, text_of
from trionyx_testing.workspace import Workspace, toolserver


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Served]]:
    """One process for tests that neither stop it nor mind its label."""
    workspace = Workspace.create(tmp_path_factory.mktemp("serve"), limits="call_timeout_ms = 1000")
    with Served(workspace) as served:
        yield workspace, served


def of_call(workspace: Workspace, result: dict[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    """Return the records of the call that a result belongs to."""
    assert result is not None
    call = result["_meta"]["trionyx/call"]
    return [(type_, body) for type_, body in workspace.records() if body.get("call") == call]


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G02")
def test_an_allowed_call_has_an_intent_and_an_outcome_before_its_answer(
    shared: tuple[Workspace, Served],
) -> None:
    workspace, served = shared
    result = served.call("test__echo", text="hello")
    assert text_of(result) == "hello"
    records = of_call(workspace, result)
    assert [type_ for type_, _ in records] == ["call.intent", "call.outcome"]
    assert records[1][1]["status"] == "ok"


@pytest.mark.guarantee("G04")
def test_the_tool_receives_the_decided_bytes(shared: tuple[Workspace, Served]) -> None:
    workspace, served = shared
    served.call("test__progress")
    assert workspace.effects()[-1] == {"tool": "progress", "arguments": {"steps": 3}}


@pytest.mark.guarantee("G28")
def test_no_argument_and_no_result_is_in_the_clear_anywhere(shared: tuple[Workspace, Served]) -> None:
    workspace, served = shared
    canary = "canary-7f3a90"
    assert text_of(served.call("test__echo", text=canary)) == canary
    refused(served.call("test__echo", text=canary, other=canary))
    served.request("tools/call", {"name": "test__fail", "arguments": {"text": canary}})
    kept = [path for path in workspace.root.rglob("*") if path.is_file() and path != workspace.journal]
    needles = [canary.encode(), base64.b64encode(canary.encode())[:12], canary.encode().hex().encode()]
    assert [path for path in kept if any(needle in path.read_bytes() for needle in needles)] == []


@pytest.mark.guarantee("G21")
def test_only_catalogued_tools_are_offered_and_callable(shared: tuple[Workspace, Served]) -> None:
    workspace, served = shared
    answer = served.request("tools/list")
    assert answer is not None
    names = {tool["name"] for tool in answer["result"]["tools"]}
    assert "test__echo" in names and "test__uncatalogued" not in names
    assert all(
        tool.keys() <= {"name", "title", "description", "inputSchema"} for tool in answer["result"]["tools"]
    )
    result = served.call("test__uncatalogued")
    assert refused(result) == ["TRX-UNKNOWN-TOOL"]
    assert [type_ for type_, _ in of_call(workspace, result)] == ["call.denied"]
    assert "uncatalogued" not in {effect["tool"] for effect in workspace.effects()}


@pytest.mark.guarantee("G21")
@pytest.mark.parametrize(
    "method",
    [
        "resources/list",
        "prompts/get",
        "completion/complete",
        "logging/setLevel",
        "tasks/list",
        "subscriptions/listen",
        "x",
    ],
)
def test_other_methods_are_refused_and_recorded(shared: tuple[Workspace, Served], method: str) -> None:
    workspace, served = shared
    answer = served.request(method, {"uri": "file:///etc/passwd"})
    assert answer is not None and answer["error"]["code"] == -32601
    type_, body = workspace.records()[-1]
    assert (type_, body["code"], body["subject"]) == ("call.denied", "unknown_method", method)


@pytest.mark.guarantee("G03")
@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{"name":"test__note","name":"test__echo"}}',
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{"name":"test__note","arguments":{"text":"a\\u0000"}}}',
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{"name":"test__note","arguments":{"text":18446744073709551617}}}',
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{"name":"test__note","arguments":{"text":NaN}}}',
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":{"name":"test__note","arguments":{"text":"\\ud800"}}}',
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call","params":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"\xff\xfe{}",
        b'{"jsonrpc":"2.0","id":"m","method":"tools/call"',
    ],
    ids=["duplicate", "nul", "huge integer", "nan", "surrogate", "deep", "encoding", "unfinished"],
)
def test_a_line_without_one_reading_is_answered_recorded_and_reaches_no_tool(
    shared: tuple[Workspace, Served], line: bytes
) -> None:
    workspace, served = shared
    before = workspace.effects()
    served.send_line(line)
    answer = served.line()
    assert answer is not None
    assert json.loads(answer)["error"]["code"] == -32700
    type_, body = workspace.records()[-1]
    assert (type_, body["code"]) == ("call.denied", "malformed")
    assert workspace.effects() == before


@pytest.mark.guarantee("G26")
def test_a_denial_names_rule_reason_and_remedy_and_no_value(shared: tuple[Workspace, Served]) -> None:
    _, served = shared
    result = served.call("test__send", to=["drop@evil.example, x"], body="canary-body")
    assert result is not None
    assert "CATALOG-002" in refused(result)
    text = text_of(result)
    assert "Allowed instead:" in text and "canary" not in text and "evil" not in text
    assert all(reason["reason"] for reason in result["_meta"]["trionyx/refusal"])


@pytest.mark.guarantee("G23")
@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("hang", {"text": ""}, "timeout"),
        ("garbage", {"text": ""}, "garbage"),
        ("odd_block", {}, "garbage"),
        ("rpc_error", {}, "protocol_error"),
        ("huge", {"bytes": 1_100_000}, "too_large"),
    ],
)
def test_an_upstream_that_misbehaves_costs_one_clear_error_and_a_record(
    shared: tuple[Workspace, Served], tool: str, arguments: dict[str, Any], kind: str
) -> None:
    workspace, served = shared
    result = served.call(f"test__{tool}", **arguments)
    assert refused(result) == ["TRX-UPSTREAM"]
    assert "canary" not in json.dumps(result)
    _, (type_, outcome) = of_call(workspace, result)
    assert (type_, outcome["status"], outcome["failure"]["kind"]) == ("call.outcome", "failed", kind)


def test_progress_passes_as_numbers(shared: tuple[Workspace, Served]) -> None:
    _, served = shared
    served.notifications.clear()
    params = {"name": "test__progress", "arguments": {}, "_meta": {"progressToken": "p1"}}
    served.request("tools/call", params)
    assert [note["params"] for note in served.notifications] == [
        {"progressToken": "p1", "progress": float(step), "total": 3.0} for step in (1, 2, 3)
    ]


def test_structured_content_and_tool_errors_pass(shared: tuple[Workspace, Served]) -> None:
    _, served = shared
    found = served.call("test__structured")
    assert found is not None and found["structuredContent"] == {"rows": [{"n": 1}]}
    assert "canary" not in json.dumps(found)
    failed = served.call("test__fail", text="why")
    assert failed is not None and failed["isError"] is True and text_of(failed) == "failed: why"


def test_a_cancelled_call_ends_in_a_record(shared: tuple[Workspace, Served]) -> None:
    workspace, served = shared
    request = served.post("tools/call", {"name": "test__hang", "arguments": {"text": "to be withdrawn"}})
    while not any(effect["arguments"].get("text") == "to be withdrawn" for effect in workspace.effects()):
        served.request("ping")
    served.send({"method": "notifications/cancelled", "params": {"requestId": request}})
    while workspace.records()[-1][0] != "call.outcome":
        served.request("ping")
    assert workspace.records()[-1][1]["failure"]["kind"] == "cancelled"


@pytest.mark.guarantee("G22")
def test_an_upstream_inherits_nothing(shared: tuple[Workspace, Served]) -> None:
    _, served = shared
    seen = json.loads(text_of(served.call("test__environment")))
    assert seen.keys() - {"LC_CTYPE"} == {"PYTHONPATH", "TOOL_JOURNAL"}


@pytest.mark.guarantee("G06")
@pytest.mark.guarantee("G07")
@pytest.mark.guarantee("G24")
def test_a_secret_that_was_read_cannot_leave_and_a_restart_does_not_change_that(tmp_path: Path) -> None:
    from trionyx_proxy.cli import main
    from trionyx_testing.capture import output_of

    workspace = Workspace.create(tmp_path)
    minted = json.loads(
        output_of(
            main,
            ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"],
            stdin="Send the report to partner@other.example.",
        )
    )
    message = {"to": ["partner@other.example"], "body": "report"}
    with Served(workspace, minted["env"]) as served:
        assert text_of(served.call("test__send", **message)) == "sent"
        assert "launch code" in text_of(served.call("test__secret"))
        assert "TRX-FLOW" in refused(served.call("test__send", **message))
        served.kill()
    for path in (tmp_path / "state").glob("runs.sqlite*"):
        path.unlink()
    with Served(workspace, minted["env"]) as served:
        assert "TRX-FLOW" in refused(served.call("test__send", **message))
    assert [effect["tool"] for effect in workspace.effects()] == ["send", "secret"]
    types = [type_ for type_, _ in workspace.records()]
    assert types.count("run.open") == 1 and types.count("run.resume") == 1


@pytest.mark.guarantee("G24")
def test_a_second_process_cannot_serve_the_same_run(tmp_path: Path) -> None:
    from trionyx_proxy.cli import main
    from trionyx_testing.capture import output_of

    workspace = Workspace.create(tmp_path)
    order = ["mint", "--config", str(workspace.config), "--agent", "a", "--user", "u", "--prompt-file", "-"]
    minted = json.loads(output_of(main, order, stdin=""))
    with Served(workspace, minted["env"]):
        second = Served(workspace, minted["env"])
        assert second.stop() == 4
    assert b"another" in second.stderr.read_bytes()


@pytest.mark.guarantee("G23")
def test_one_upstreams_end_leaves_the_others_and_it_comes_back(tmp_path: Path) -> None:
    upstreams = toolserver("one") + toolserver("two") + toolserver("dead", env={"TOOL_MODE": "exit_at_start"})
    workspace = Workspace.create(tmp_path, upstreams=upstreams)
    with Served(workspace) as served:
        assert refused(served.call("one__crash", text="")) == ["TRX-UPSTREAM"]
        assert text_of(served.call("two__echo", text="still here")) == "still here"
        assert refused(served.call("dead__echo", text="")) == ["TRX-UNKNOWN-TOOL"]
        while (answer := served.call("one__echo", text="back")) is None or answer["isError"]:
            pass
        assert text_of(answer) == "back"


def test_a_signal_ends_the_run_in_a_record(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        served.post("tools/call", {"name": "test__hang", "arguments": {"text": ""}})
        while not workspace.effects():
            served.request("ping")
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(30) == 0
    types = [type_ for type_, _ in workspace.records()]
    assert types[-2:] == ["call.outcome", "run.close"]


@pytest.mark.guarantee("G03")
def test_calls_beyond_the_limit_are_refused_at_once(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path, limits="max_in_flight = 2")
    with Served(workspace) as served:
        for number in range(2):
            served.post("tools/call", {"name": "test__hang", "arguments": {"text": str(number)}})
        while len(workspace.effects()) < 2:
            served.request("ping")
        assert refused(served.call("test__echo", text="")) == ["TRX-OVERLOADED"]


def test_a_reload_takes_effect_at_once_or_not_at_all(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    limits = workspace.root / "bundle/data/limits.json"
    manifest = workspace.root / "bundle/manifest.json"
    good = manifest.read_text()

    def until(type_: str, served: Served) -> dict[str, Any]:
        served.process.send_signal(signal.SIGHUP)
        while not (found := [body for kind, body in workspace.records() if kind == type_]):
            served.request("ping")
        return found[-1]

    with Served(workspace) as served:
        assert text_of(served.call("test__echo", text="1")) == "1"
        tight = json.loads(limits.read_text())
        tight["trionyx"]["limits"]["max_calls"] = 1
        limits.write_text(json.dumps(tight))
        assert "does not rise" in until("policy.refused", served)["reason"]
        assert text_of(served.call("test__echo", text="2")) == "2"
        manifest.write_text(json.dumps(json.loads(good) | {"revision": 2}))
        assert until("policy.load", served)["revision"] == 2
        # The record is durable a moment before the policy it announces is in force.
        while not (answer := served.call("test__echo", text="3"))["isError"]:
            assert len(workspace.effects()) < 1_000
        assert any(rule.startswith("LIM-") for rule in refused(answer))


def test_the_modern_protocol_era_is_served(tmp_path: Path) -> None:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    workspace = Workspace.create(tmp_path)
    served = Served(workspace)
    discovered = served.request("server/discover", {"_meta": envelope})
    assert discovered is not None and "2026-07-28" in discovered["result"]["supportedVersions"]
    listed = served.request("tools/list", {"_meta": envelope})
    assert listed is not None and listed["result"]["ttlMs"] == 0
    called = served.request(
        "tools/call", {"name": "test__echo", "arguments": {"text": "hi"}, "_meta": envelope}
    )
    assert called is not None and text_of(called["result"]) == "hi"
    assert called["result"]["resultType"] == "complete"
    assert served.stop() == 0


def test_concurrent_calls_all_end(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with Served(workspace) as served:
        ids = [
            served.post("tools/call", {"name": "test__echo", "arguments": {"text": str(number)}})
            for number in range(20)
        ]
        lines = [json.loads(served.line() or b"") for _ in ids]
        assert {line["id"] for line in lines} == set(ids)
        assert not any(line["result"]["isError"] for line in lines)
