"""Questions to people through the whole proxy: asked on one side, answered from a second terminal."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.reading import records
from trionyx_audit.verify import verify
from trionyx_proxy.approvals.desk import MAX_PENDING
from trionyx_proxy.approvals.people import operator
from trionyx_testing.asking import (
    STRANGER,
    asking_workspace,
    fails,
    minted,
    pending,
    remedies,
    result,
    send,
    terminal,
    until,
)
from trionyx_testing.client import Served, refused
from trionyx_testing.workspace import Workspace

PROMPT = "Send the minutes to jonas@corp.example, please."


def kinds(made: Workspace) -> list[str]:
    return [type_ for type_, _ in made.records()]


def bodies(made: Workspace, type_: str) -> list[dict[str, Any]]:
    return [body for kind, body in made.records() if kind == type_]


def test_a_yes_from_a_second_terminal_lets_the_waiting_call_through(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        request = send(served)
        (id_,) = pending(made)
        assert made.effects() == []
        (shown,) = terminal(made, "show", id_)
        assert shown["tool"] == "test__send" and STRANGER in shown["text"]
        assert [rule["id"] for rule in shown["rules"]] == ["PROV-002"]
        terminal(made, "approve", id_)
        assert result(served, request)["isError"] is False
        again = send(served)
        assert pending(made) != [id_], "the same call again is another question"
        terminal(made, "reject", pending(made)[0])
        assert refused(result(served, again)) == ["TRX-REJECTED", "PROV-002"]
    assert [effect["arguments"]["to"] for effect in made.effects()] == [[STRANGER]]
    order = [type_ for type_ in kinds(made) if type_.startswith(("approval.", "call."))]
    assert order == [
        "call.asked", "approval.asked", "approval.approved", "approval.used", "call.intent", "call.outcome",
        "call.asked", "approval.asked", "approval.rejected", "call.denied",
    ]  # fmt: skip
    (intent,) = bodies(made, "call.intent")
    assert intent["approval"]["id"] == id_ and intent["approval"]["by"] == operator()
    assert bodies(made, "approval.used")[0]["call"] == intent["call"]
    (log,) = made.logs()
    assert verify(log, TrustedKey(FileSigner.from_seed(b"A" * 32).public)).violation is None


@pytest.mark.guarantee("G32")
@pytest.mark.guarantee("G24")
def test_an_answer_that_comes_after_the_call_gave_up_serves_the_same_call_once_also_after_a_restart(
    tmp_path: Path,
) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    run = minted(made, PROMPT)
    with Served(made, run) as served:
        refusal = result(served, send(served))
        assert refused(refusal) == ["TRX-PENDING", "PROV-002"]
        (id_,) = pending(made)
        assert {"kind": "ask_a_person", "approval": id_} in remedies(refusal)
        served.kill()
    assert pending(made) == [id_], "a restart in between keeps what waits"
    terminal(made, "approve", id_)
    with Served(made, run) as served:
        assert refused(result(served, send(served, body="other words"))) == ["TRX-PENDING", "PROV-002"]
        assert result(served, send(served))["isError"] is False
        assert refused(result(served, send(served))) == ["TRX-PENDING", "PROV-002"]
    assert len(made.effects()) == 1


@pytest.mark.guarantee("G32")
def test_an_approval_serves_no_other_run_of_the_same_agent_and_user(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    with Served(made, minted(made, PROMPT)) as served:
        send_twice = [refused(result(served, send(served))) for _ in range(2)]
        assert send_twice == [["TRX-PENDING", "PROV-002"]] * 2
        (id_,) = pending(made)
        terminal(made, "approve", id_)
        with Served(made, minted(made, PROMPT)) as other:
            assert refused(result(other, send(other))) == ["TRX-PENDING", "PROV-002"]
        with Served(made, minted(made, PROMPT, user="jonas")) as other:
            assert refused(result(other, send(other))) == ["TRX-PENDING", "PROV-002"]
    assert made.effects() == []


@pytest.mark.guarantee("G32")
def test_a_reload_takes_what_was_asked_in_the_old_policys_name_with_it(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        request = send(served)
        (first,) = pending(made)
        manifest = made.root / "bundle/manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"revision": 2}))
        served.process.send_signal(1)
        (second,) = until(lambda: ((found := pending(made)) != [first] and found) or None)
        assert fails(made, "approve", first) != 0
        terminal(made, "approve", second)
        assert result(served, request)["isError"] is False
    assert len(made.effects()) == 1


@pytest.mark.guarantee("G33")
def test_a_value_that_a_person_vouched_for_is_not_asked_about_again(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        request = send(served)
        (asked,) = pending(made)
        assert fails(made, "approve", asked, "--endorse", "run", "--only", "/body") == 4
        (answer,) = terminal(made, "approve", asked, "--endorse", "run", "--only", "/to/0")
        (given,) = answer["endorsements"]
        assert (given["value"], given["kind"], given["role"], given["tool"]) == (
            STRANGER, "email", "target", "test__send",
        )  # fmt: skip
        assert result(served, request)["isError"] is False
        assert result(served, send(served, body="another"))["isError"] is False
        assert refused_later(served, made, "other@stranger.example") == ["TRX-REJECTED", "PROV-002"]
    intent = bodies(made, "call.intent")[1]
    assert intent["decision"]["outcome"] == "allow", "the value itself is trusted now"
    assert kinds(made).index("endorsement.given") < kinds(made).index("call.intent")


def refused_later(served: Served, made: Workspace, to: str) -> list[str]:
    request = send(served, to)
    terminal(made, "reject", pending(made)[0])
    return refused(result(served, request))


@pytest.mark.guarantee("G33")
def test_an_endorsement_for_always_counts_in_every_run_of_its_tenant_until_it_is_revoked(
    tmp_path: Path,
) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT, tenant="acme")) as served:
        request = send(served)
        (answer,) = terminal(made, "approve", pending(made)[0], "--endorse", "always")
        assert result(served, request)["isError"] is False
    with Served(made, minted(made, PROMPT, tenant="acme")) as served:
        assert result(served, send(served))["isError"] is False
        terminal(made, "revoke", answer["endorsements"][0]["endorsement"])
        log = max(made.logs(), key=lambda path: path.stat().st_mtime)
        until(lambda: "endorsement.revoked" in [record.type for record in records(log)] or None)
        assert refused_later(served, made, STRANGER) == ["TRX-REJECTED", "PROV-002"]
    with Served(made, minted(made, PROMPT, tenant="other")) as served:
        assert refused_later(served, made, STRANGER) == ["TRX-REJECTED", "PROV-002"]


@pytest.mark.guarantee("G33")
def test_an_endorsement_of_scope_once_ends_with_its_call(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        request = send(served)
        terminal(made, "approve", pending(made)[0], "--endorse", "once")
        assert result(served, request)["isError"] is False
        assert refused_later(served, made, STRANGER) == ["TRX-REJECTED", "PROV-002"]


@pytest.mark.guarantee("G33")
def test_an_operator_vouches_for_a_value_before_anybody_asks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = asking_workspace(tmp_path)
    order = ["endorse", "--kind", "email", "--role", "target", "--tenant", "acme", STRANGER.upper()]
    terminal(made, *order)
    assert fails(made, "endorse", "--kind", "email", "--role", "target", "not an address") == 4
    assert fails(made, "endorse", "--kind", "email", "--role", "king", STRANGER) == 4
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all(line.startswith("trionyx-proxy: approvals: ") for line in told)
    with Served(made, minted(made, PROMPT, tenant="acme")) as served:
        assert result(served, send(served))["isError"] is False
    assert kinds(made).index("endorsement.given") < kinds(made).index("call.intent")


def test_a_rejected_call_is_not_asked_about_again(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        assert refused_later(served, made, STRANGER) == ["TRX-REJECTED", "PROV-002"]
        assert refused(result(served, send(served))) == ["TRX-REJECTED", "PROV-002"]
    assert kinds(made).count("approval.asked") == 1


def test_an_agent_cannot_bury_people_in_questions(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    with Served(made, minted(made, PROMPT)) as served:
        rules = [
            refused(result(served, send(served, f"n{number}@x.example"))) for number in range(MAX_PENDING + 2)
        ]
    assert [found[0] for found in rules] == ["TRX-PENDING"] * MAX_PENDING + ["TRX-ASK"] * 2


@pytest.mark.guarantee("G32")
def test_no_tool_answers_questions_and_the_state_directory_is_out_of_reach(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    with Served(made, minted(made, PROMPT)) as served:
        tools = served.request("tools/list")
        assert tools is not None
        names = {tool["name"] for tool in tools["result"]["tools"]}
        assert not [name for name in names if "appro" in name or "endors" in name]
        result(served, send(served))
        (id_,) = pending(made)
        for method in ("approvals/approve", "tools/approve", "elicitation/create"):
            answer = served.request(method, {"id": id_, "name": id_})
            assert answer is not None and "error" in answer
        # A client's own answer to a question that it was never asked is no answer.
        served.send({"id": 1, "result": {"action": "accept", "content": {"approve": True}}})
        assert refused(result(served, send(served))) == ["TRX-PENDING", "PROV-002"]
    text = made.config.read_text()
    for reach in (tmp_path / "state", tmp_path):
        made.config.write_text(text.replace('catalog = "test"', f'catalog = "test"\ncwd = "{reach}"'))
        assert fails(made, "list") == 2


@pytest.mark.guarantee("G32")
def test_a_row_that_the_key_does_not_prove_answers_nothing(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    with Served(made, minted(made, PROMPT)) as served:
        result(served, send(served))
        (id_,) = pending(made)
        file = sqlite3.connect(tmp_path / "state/approvals.sqlite")
        with file:
            file.execute(
                "UPDATE approval SET standing = 'approved', by = ?, decided_ms = 1 WHERE id = ?",
                (operator(), id_),
            )
        file.close()
        assert refused(result(served, send(served))) == ["TRX-PENDING", "PROV-002"]
    assert made.effects() == []


@pytest.mark.guarantee("G32")
def test_an_older_copy_of_the_approvals_file_brings_no_approval_back(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    run = minted(made, PROMPT)
    state = tmp_path / "state"
    with Served(made, run) as served:
        result(served, send(served))
        terminal(made, "approve", pending(made)[0])
    shutil.copytree(state, tmp_path / "kept")
    with Served(made, run) as served:
        assert result(served, send(served))["isError"] is False
    for name in ("approvals.sqlite", "approvals.sqlite-wal", "approvals.sqlite-shm"):
        (state / name).unlink(missing_ok=True)
        if (tmp_path / "kept" / name).exists():
            shutil.copy(tmp_path / "kept" / name, state / name)
    with Served(made, run) as served:
        assert refused(result(served, send(served))) == ["TRX-PENDING", "PROV-002"]
    assert len(made.effects()) == 1


def test_only_approvers_may_answer(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0, more='approvers = ["somebody-else"]')
    with Served(made, minted(made, PROMPT)) as served:
        result(served, send(served))
        (id_,) = pending(made)
        assert fails(made, "approve", id_) == 4
        made.config.write_text(made.config.read_text().replace("somebody-else", operator()))
        terminal(made, "approve", id_)
        # The serving process goes by the configuration that it was started with.
        assert refused(result(served, send(served))) == ["TRX-PENDING", "PROV-002"]
    assert made.effects() == []


def test_without_the_table_nobody_is_asked(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    made.config.write_text(made.config.read_text().partition("\n[approvals]")[0])
    with Served(made, minted(made, PROMPT)) as served:
        assert refused(result(served, send(served))) == ["TRX-ASK", "PROV-002"]
    assert fails(made, "list") == 2
    assert "call.asked" not in kinds(made)


def test_a_call_that_its_agent_withdraws_leaves_its_question_for_the_next_time(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    with Served(made, minted(made, PROMPT)) as served:
        request = send(served)
        (id_,) = pending(made)
        served.send({"method": "notifications/cancelled", "params": {"requestId": request}})
        until(lambda: "call.denied" in kinds(made) or None)
        terminal(made, "approve", id_)
        assert result(served, send(served))["isError"] is False
    assert len(made.effects()) == 1


@pytest.mark.guarantee("G28")
def test_nothing_of_a_question_is_in_the_clear_on_disk(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=0)
    with Served(made, minted(made, PROMPT)) as served:
        result(served, send(served, body="MARKER-in-the-body"))
        terminal(made, "approve", pending(made)[0], "--endorse", "always")
    for path in (*(tmp_path / "state").iterdir(), *made.logs()[0].rglob("*"), tmp_path / "stderr.txt"):
        if path.is_file():
            data = path.read_bytes()
            assert b"MARKER" not in data and STRANGER.encode() not in data, path
