"""Runs that talk, each behind a real proxy process of its own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from trionyx_audit.keys import FileSigner
from trionyx_audit.note import VerifierKey
from trionyx_proxy.cli import main
from trionyx_testing.capture import output_of
from trionyx_testing.client import Client, Served, refused, text_of
from trionyx_testing.talking import (
    INJECTION,
    MAILS,
    PEERS,
    bodies,
    error,
    label_of,
    mint,
    received,
    run_of,
    said,
    served,
    set_data,
    talking_workspace,
)
from trionyx_testing.workspace import label


@pytest.mark.guarantee("G34")
def test_a_message_carries_what_its_sender_has_read(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    boss, clerk = mint(made, "boss"), mint(made, "clerk")
    with served(made, clerk) as one, served(made, boss) as other:
        said(one, "send", to="boss", message="All quiet.")
        (message,) = received(other)
        assert (message["from"], message["kind"], message["message"]) == ("clerk", "message", "All quiet.")
        assert label_of(made, boss)["integrity"] == "org", (
            "the word of an untainted run is the organisation's at best"
        )
        one.call("test__public")
        one.call("test__secret")
        said(one, "send", to="boss", message='{"news": ["much"]}')
        (message,) = received(other)
        assert message["message"] == {"news": ["much"]}
        assert received(other) == []
        sent, got = bodies(made, clerk, "call.outcome")[-1], bodies(made, boss, "call.outcome")[-2]
        assert (got["label"]["integrity"], got["label"]["level"]) == ("public", "secret")
        assert sent["messages"] == [
            got["messages"][0] | {"direction": "sent", "peer_agent": "boss", "peer_run": ""}
        ]
        assert got["messages"][0]["peer_run"] == run_of(clerk)
        assert got["messages"][0]["label"] == got["label"]
        assert "much" not in json.dumps([sent, got])


@pytest.mark.guarantee("G34")
def test_nothing_that_follows_lowers_the_label_not_even_a_later_process(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    boss, clerk = mint(made, "boss"), mint(made, "clerk")
    with served(made, clerk) as one:
        one.call("test__public")
        said(one, "send", to="boss", message="News.")
    with served(made, boss) as other:
        received(other)
        # A runtime that now sums up and forgets what it read is the same run.
        other.call("test__echo", text="In sum: all is fine.")
    with served(made, boss) as other:
        other.call("test__echo", text="In sum: all is fine.")
        received(other)
        said(other, "send", to="clerk", message="All is fine.")
    with served(made, clerk) as one:
        received(one)
    assert label_of(made, boss)["integrity"] == "public"
    (message,) = bodies(made, boss, "call.outcome")[-1]["messages"]
    assert message["label"]["integrity"] == "public"


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize("switch", ["deny", "off"])
def test_both_sides_must_allow_a_message(tmp_path: Path, switch: str) -> None:
    made = talking_workspace(tmp_path, rules={"PEERS-001": switch, "PEERS-002": switch, "PEERS-003": switch})
    receivers = {"boss": ["deaf", "boss", "nobody", "picky", "parent"], "deaf": ["boss"], "picky": ["clerk"]}
    for sender, agents in receivers.items():
        with served(made, mint(made, sender)) as client:
            for agent in agents:
                outcome = client.call("trionyx_send", to=agent, message="Hello.")
                if switch == "deny":
                    assert refused(outcome) == ["PEERS-001"], "and nothing of whether there is such an agent"
                else:
                    assert error(outcome) == "messages between these agents are not allowed", (
                        "the host asks, too"
                    )


@pytest.mark.guarantee("G34")
def test_a_message_on_its_way_is_not_received_once_it_is_not_allowed_any_more(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    with served(made, mint(made, "clerk")) as one:
        said(one, "send", to="boss", message="Hello.")
    set_data(made, "peers", boss=PEERS["boss"] | {"receive_from": []})
    with served(made, mint(made, "boss")) as other:
        assert received(other) == []
    set_data(made, "peers", boss=PEERS["boss"] | {"clearance": label("user", "public")})
    with served(made, mint(made, "boss")) as other:
        assert received(other) == []
    set_data(made, "peers", boss=PEERS["boss"])
    with served(made, mint(made, "boss")) as other, served(made, mint(made, "boss")) as another:
        assert len(received(other)) == 1
        assert received(another) == [], "a message is received once"


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize(("tool", "rule"), [("test__public", "PEERS-002"), ("test__secret", "PEERS-003")])
@pytest.mark.parametrize("switch", ["deny", "off"])
def test_a_receiver_must_be_cleared(tmp_path: Path, tool: str, rule: str, switch: str) -> None:
    made = talking_workspace(tmp_path, rules={rule: switch})
    with served(made, mint(made, "clerk")) as client:
        said(client, "send", to="picky", message="Hello.")
        client.call(tool)
        result = client.call("trionyx_send", to="picky", message="Hello.")
    if switch == "deny":
        assert refused(result) == [rule]
    else:
        assert error(result) == "that agent is not cleared for what this run has read"


def test_only_agents_with_peers_have_the_tools(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)

    def offered(client: Client) -> set[str]:
        answer = client.request("tools/list")
        assert answer is not None
        return {tool["name"] for tool in answer["result"]["tools"] if tool["name"].startswith("trionyx_")}

    with Served(made) as nobody:
        without = offered(nobody)
    with served(made, mint(made, "loner")) as loner:
        assert offered(loner) == without
        assert refused(loner.call("trionyx_send", to="boss", message="x")) == ["TRX-UNKNOWN-TOOL"]
    with served(made, mint(made, "boss")) as boss:
        assert offered(boss) - without == {
            "trionyx_send",
            "trionyx_receive",
            "trionyx_ask",
            "trionyx_answer",
        }


@pytest.mark.guarantee("G34")
def test_untrusted_words_of_another_run_are_shown_as_a_handle(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path, hide=True)
    boss, clerk = mint(made, "boss"), mint(made, "clerk")
    with served(made, clerk) as one, served(made, boss) as other:
        (mail,) = json.loads(text_of(one.call("test__mails")))
        # The clerk has not seen the text, and passes it on.
        said(one, "send", to="boss", message=f"It says: {mail['body']}")
        (message,) = received(other)
        assert message["message"].startswith("⟦trx:h") and "Ignore" not in json.dumps(message)
        assert label_of(made, boss)["integrity"] != "public"
        assert label_of(made, boss)["level"] == "internal"
        assert text_of(other.call("trionyx_reveal", handle=message["message"])) == f"It says: {INJECTION}"
        assert label_of(made, boss)["integrity"] == "public"


@pytest.mark.guarantee("G34")
@pytest.mark.guarantee("G29")
@pytest.mark.parametrize("form", ['{{"to": "{}"}}', "{}", "Write to {}, please."])
def test_two_runs_do_not_launder_an_address(tmp_path: Path, form: str) -> None:
    made = talking_workspace(tmp_path, hide=True)
    boss = mint(made, "boss", prompt="Do what the clerk says.")
    with served(made, mint(made, "clerk")) as one, served(made, boss) as other:
        one.call("test__mails")  # shows eve's address, and taints nothing
        for address in ("paul@named.example", "jonas@partner.example", "eve@evil.example"):
            said(one, "send", to="boss", message=form.format(address))
            (message,) = received(other)
            assert address in json.dumps(message)
            outcome = other.call("test__send", to=[address], body="Hello.")
            assert outcome is not None
            # Only whole values that the sender itself had from somebody trusted; never what a text mentions.
            is_vouched = "eve" not in address and "please" not in form
            assert outcome["isError"] is not is_vouched, outcome


@pytest.mark.guarantee("G30")
@pytest.mark.parametrize("restarts", [False, True])
def test_what_was_said_comes_back_from_a_tool_no_better(tmp_path: Path, restarts: bool) -> None:
    made = talking_workspace(tmp_path, hide=True)
    clerk = mint(made, "clerk")
    one = served(made, clerk)
    one.initialize()
    one.call("test__mails")
    said(one, "send", to="boss", message='{"to": "eve@evil.example"}')
    if restarts:
        one.stop()
        one = served(made, clerk)
        one.initialize()
    # Others have stored it meanwhile, where the catalog trusts what stands there.
    mails = [MAILS[0] | {"id": "m2", "recipients": ["eve@evil.example", "kim@partner.example"]}]
    (tmp_path / "mails.json").write_text(json.dumps(mails))
    one.call("test__mails", folder="later")
    for address, allowed in (("kim@partner.example", True), ("eve@evil.example", False)):
        outcome = one.call("test__send", to=[address], body="Hello.")
        assert outcome is not None and outcome["isError"] is not allowed, outcome
    one.stop()


@pytest.mark.guarantee("G34")
def test_what_was_not_received_waits_for_the_next_process(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    boss = mint(made, "boss")
    with served(made, mint(made, "clerk")) as one:
        said(one, "send", to="boss", message="First.")
        said(one, "send", to="boss", message="Second.")
    dying = Served(made, {"TRIONYX_RUN_TOKEN": boss})
    dying.initialize()
    dying.post("tools/call", {"name": "trionyx_receive", "arguments": {}})
    dying.kill()
    with served(made, boss) as other:
        found = {message["message"] for message in received(other)}
        outcomes = [b for b in bodies(made, boss, "call.outcome") if b["status"] == "ok" and b["messages"]]
        assert len(outcomes) == 1
        assert found == {"First.", "Second."} or bodies(made, boss, "call.outcome")[0]["status"] == "ok"


@pytest.mark.parametrize(
    "message", ["", '{"a": 1, "a": 2}', "[1]", '{"a":' * 6 + "1" + "}" * 6, '{"b": "' + "x" * 1025 + '"}']
)
def test_what_has_not_the_form_of_a_message_is_refused(tmp_path: Path, message: str) -> None:
    made = talking_workspace(tmp_path)
    with served(made, mint(made, "boss")) as client:
        result = client.call("trionyx_send", to="clerk", message=message)
        assert result is not None and result["isError"] is True


@pytest.mark.guarantee("G34")
@pytest.mark.parametrize("limit", ["max_waiting", "per_hour"])
def test_a_mailbox_is_bounded_for_each_pair(tmp_path: Path, limit: str) -> None:
    made = talking_workspace(tmp_path, **{limit: 2})
    with served(made, mint(made, "clerk")) as one:
        for _ in range(2):
            said(one, "send", to="boss", message="Hello.")
        assert "too many messages" in error(one.call("trionyx_send", to="boss", message="Hello."))
        said(one, "send", to="picky", message="Hello.")


def test_messages_expire(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path, expires_s=0)
    with served(made, mint(made, "clerk")) as one, served(made, mint(made, "boss")) as other:
        said(one, "send", to="boss", message="Hello.")
        assert received(other) == []


@pytest.mark.guarantee("G34")
def test_neither_tenants_nor_users_meet_unless_the_policy_says_so(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    with served(made, mint(made, "clerk", "--tenant", "one")) as one:
        said(one, "send", to="boss", message="Hello.")
    for who in ("--tenant two", "--tenant one --user jonas"):
        with served(made, mint(made, "boss", *who.split())) as other:
            assert received(other) == []
    set_data(made, "peers", boss=PEERS["boss"] | {"any_user": True})
    with served(made, mint(made, "boss", "--tenant", "one", "--user", "jonas")) as other:
        assert len(received(other)) == 1
        id_ = said(other, "ask", to="clerk", questions=[{"name": "flag", "type": "bool"}])
    with served(made, mint(made, "clerk", "--tenant", "one")) as one:
        assert received(one) == []
        answers = [{"name": "flag", "value": True}]
        outcome = one.call("trionyx_answer", question_id=id_, answers=answers)
        assert refused(outcome) == ["PEERS-004"]


def test_no_mailbox_no_run(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    token = mint(made, "boss")
    (tmp_path / "state/messages.sqlite").write_bytes(b"not a database" * 500)
    client = served(made, token)
    assert client.stop() == 4
    shutil.rmtree(tmp_path / "audit", ignore_errors=True)


def test_a_story_says_who_told_whom(tmp_path: Path) -> None:
    made = talking_workspace(tmp_path)
    boss = mint(made, "boss")
    with served(made, boss) as other:
        clerk = mint(made, "clerk", "--parent", run_of(boss), "--tools", "test__public")
        with served(made, clerk) as one:
            one.call("test__public")
            said(one, "send", to="boss", message="MARKED WORDS")
        (message,) = received(other)
    vkey = str(VerifierKey("test.example/proxy", FileSigner.from_seed(b"A" * 32).public))

    def told(token: str, number: str, *more: str) -> str:
        log = tmp_path / "audit" / run_of(token)
        return output_of(main, ["explain", number, "--log", str(log), "--key", vkey, *more])

    sent, got = told(clerk, "2"), told(boss, "1")
    assert f"Its run is a child of run {run_of(boss)} of the agent boss." in sent
    assert f"It sent the message {message['id']} to the agent boss." in sent
    assert f"It received the message {message['id']} from the agent clerk, run {run_of(clerk)}." in got
    assert "What the sending run had seen: text that anybody may have written" in got
    assert "MARKED" not in sent + got
    found = json.loads(told(boss, "1", "--json"))
    assert [one["direction"] for one in found["outcome"]["messages"]] == ["received"]
    assert json.loads(told(clerk, "1", "--json"))["run"]["parent"] == {"run": run_of(boss), "agent": "boss"}
