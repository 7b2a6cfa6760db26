"""Attacks on people's answers: what is not shown is not answered, and an answer reaches nothing that was not shown.

Each succeeded once.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from trionyx_proxy.approvals.display import render
from trionyx_proxy.approvals.question import MAX_MATTERS, MAX_VALUE_CHARS, Question, at, compose
from trionyx_proxy.arguments import canonical, pointer
from trionyx_proxy.core.approval import Ask
from trionyx_proxy.core.request import CallId, Reason
from trionyx_proxy.errors import StateError
from trionyx_proxy.pep.asking import vouched
from trionyx_testing.asking import STRANGER, Dialog, asking_workspace, minted, pending, result, send, terminal
from trionyx_testing.calls import AT_MS, IDENTITY, SEND, request
from trionyx_testing.flowing import amend, handle_in

EVE = "eve@evil.example"


def origin(arg: str, role: str = "target", kind: str = "email", integrity: str = "public") -> dict[str, Any]:
    return {"arg": arg, "handle": False, "integrity": integrity, "role": role, "sources": [], "type": kind}


def asked(arguments: Any, origins: list[dict[str, Any]]) -> Question:
    call = replace(request("c1", SEND, canonical(arguments)), facts=orjson.dumps({"origins": origins}))
    return compose(Ask(call, (Reason("PROV-002", "title"),), AT_MS + 1, "b", "s"), IDENTITY)


@pytest.mark.guarantee("G33")
def test_a_doubtful_value_is_shown_however_many_others_stand_before_it() -> None:
    many = [f"part {number}" for number in range(2 * MAX_MATTERS)]
    texts = [origin(f"/attachments/{number}", "content", "text") for number in range(len(many))]
    question = asked({"attachments": many, "to": [EVE]}, [*texts, origin("/to/0")])
    (doubtful,) = [matter for matter in question.matters if matter.can_be_endorsed]
    assert (doubtful.value, len(question.matters)) == (EVE, MAX_MATTERS)
    assert EVE in render(question).split("The whole call")[0]


@pytest.mark.guarantee("G33")
def test_nobody_is_asked_about_more_than_can_be_shown() -> None:
    to = [f"e{number}@evil.example" for number in range(MAX_MATTERS + 1)]
    with pytest.raises(StateError):
        asked({"to": to}, [origin(f"/to/{number}") for number in range(len(to))])
    assert len(asked({"to": to[1:]}, [origin(f"/to/{n}") for n in range(MAX_MATTERS)]).matters) == MAX_MATTERS


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize("extra", [0, 1])
def test_a_value_that_is_not_shown_whole_can_not_be_vouched_for(extra: int) -> None:
    address = "https://corp.example/" + "a" * (MAX_VALUE_CHARS - 21) + "?to=eve"[:extra]
    question = asked({"url": address}, [origin("/url", kind="url")])
    (matter,) = question.matters
    assert matter.can_be_endorsed is (extra == 0) and matter.is_doubtful
    shown = render(question)
    assert ("too long to be shown whole" in shown) is bool(extra)
    assert (f"cut: {len(address)} characters" in shown) is bool(extra)


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize("name", ["odd name", "*", "a/b", "\u202ex", "", "~1"])
def test_a_member_with_an_odd_name_borrows_no_endorsement_of_another(name: str) -> None:
    """An odd name is printed as `*`, and `*` can be the name of a member, whose value a person vouched for."""
    arguments = {"to": {name: EVE, "*": "good@partner.example"} if name != "*" else {"*": EVE}}
    place = pointer(("to", name))
    assert at(arguments, place) is None or "*" not in place

    def always(*args: Any, **more: Any) -> Any:
        return type("Given", (), {"id": "e1", "tool": "*"})()

    found = vouched([origin(place)], arguments, tool="mail__send", call=CallId("c1"), vouches=always)
    assert "*" not in place or found == [origin(place)]
    if "*" in place:
        with pytest.raises(StateError):  # it could not be shown in its place, and so nobody is asked
            asked(arguments, [origin(place)])


@pytest.mark.guarantee("G31")
def test_a_dialog_in_the_agents_client_does_not_show_what_the_agent_was_not(tmp_path: Path) -> None:
    made = asking_workspace(tmp_path, wait_ms=5_000, more="elicitation = true")
    mails = [{"id": "m1", "sender": EVE, "recipients": [], "body": "the words of a stranger"}]
    (tmp_path / "mails.json").write_text(json.dumps(mails))
    config = made.config.read_text()
    made.config.write_text(
        config.replace("env = { ", f"env = {{ TOOL_MAILS = {json.dumps(str(tmp_path / 'mails.json'))}, ")
    )
    amend(made, "flow", lambda found: found.update({"hide_text": True}))
    with Dialog(made, minted(made), {"elicitation": {}}) as served:
        handle = handle_in(served.call("test__mails"))
        request = send(served, body=f"Read this: {handle}")
        dialog = served.asked()
        message = dialog["params"]["message"]
        assert STRANGER in message and "approvals show" in message and 'stranger"' not in message
        assert "the words" not in json.dumps(dialog)
        (asked_,) = pending(made)
        (whole,) = terminal(made, "show", asked_)
        assert "the words of a stranger" in whole["text"] and "the words of a stranger" in whole["arguments"]
        served.send({"id": dialog["id"], "result": {"action": "accept", "content": {"approve": True}}})
        assert not result(served, request)["isError"]
    assert made.effects()[-1]["arguments"]["body"] == "Read this: the words of a stranger"
