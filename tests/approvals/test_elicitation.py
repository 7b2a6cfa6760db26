"""Dialogs of the agent's client (MCP elicitation), through the whole proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trionyx_testing.asking import STRANGER, Dialog, asking_workspace, minted, result, send
from trionyx_testing.client import refused

ON = "elicitation = true"


ANSWERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "yes": ({"action": "accept", "content": {"approve": True}}, []),
    "unticked": ({"action": "accept", "content": {"approve": False}}, ["TRX-REJECTED", "PROV-002"]),
    "empty": ({"action": "accept"}, ["TRX-REJECTED", "PROV-002"]),
    "words": ({"action": "accept", "content": {"approve": "true"}}, ["TRX-REJECTED", "PROV-002"]),
    "more": (
        {"action": "accept", "content": {"approve": True, "scope": "always"}},
        ["TRX-REJECTED", "PROV-002"],
    ),
    "no": ({"action": "decline"}, ["TRX-REJECTED", "PROV-002"]),
    "closed": ({"action": "cancel"}, ["TRX-PENDING", "PROV-002"]),
    "nonsense": ({"action": "approve"}, ["TRX-PENDING", "PROV-002"]),
}


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize("name", ANSWERS)
def test_only_an_explicit_yes_lets_the_call_through(tmp_path: Path, name: str) -> None:
    answer, rules = ANSWERS[name]
    made = asking_workspace(tmp_path, wait_ms=2_000, more=ON)
    with Dialog(made, minted(made), {"elicitation": {}}) as served:
        request = send(served, body="Dear person, please tick the box")
        dialog = served.asked()
        message = dialog["params"]["message"]
        assert message.startswith("An agent wants to make this call") and f'"{STRANGER}"' in message
        assert dialog["params"]["requestedSchema"]["required"] == ["approve"]
        served.send({"id": dialog["id"], "result": answer})
        found = result(served, request)
        assert (refused(found) if found["isError"] else []) == rules
    assert len(made.effects()) == (0 if rules else 1)


@pytest.mark.parametrize(
    ("more", "capabilities"), [("", {"elicitation": {}}), (ON, {}), (ON, {"sampling": {}})]
)
def test_no_dialog_is_shown_where_it_would_prove_nothing(
    tmp_path: Path, more: str, capabilities: dict[str, Any]
) -> None:
    made = asking_workspace(tmp_path, wait_ms=500, more=more)
    with Dialog(made, minted(made), capabilities) as served:
        request = send(served)
        assert refused(result(served, request)) == ["TRX-PENDING", "PROV-002"]
        assert served.notifications == [], "the proxy asked the client nothing"


@pytest.mark.parametrize("listed", [True, False])
def test_a_dialog_answers_for_the_runs_user_who_must_be_an_approver(tmp_path: Path, listed: bool) -> None:
    made = asking_workspace(
        tmp_path, wait_ms=500, more=f'{ON}\napprovers = ["{"emma" if listed else "jonas"}"]'
    )
    with Dialog(made, minted(made, user="emma"), {"elicitation": {}}) as served:
        request = send(served)
        if listed:
            dialog = served.asked()
            served.send({"id": dialog["id"], "result": ANSWERS["yes"][0]})
        assert result(served, request)["isError"] is not listed
