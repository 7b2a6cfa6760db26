"""Results read field by field, text behind handles, and what becomes of both in a later process of the run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trionyx_testing.client import Served, refused, text_of
from trionyx_testing.flowing import INJECTION, MAILS, TOKEN, amend, describe, handle_in, token_for, workspace
from trionyx_testing.workspace import Workspace


def shown(result: dict[str, Any] | None) -> Any:
    return json.loads(text_of(result))


def bodies(made: Workspace, type_: str) -> list[Mapping[str, Any]]:
    return [body for kind, body in made.records() if kind == type_]


@pytest.mark.guarantee("G31")
def test_untrusted_text_is_shown_as_a_handle_and_its_writer_gains_nothing(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    with Served(made) as served:
        result = served.call("test__mails")
        assert result is not None and "Ignore" not in json.dumps(result)
        (mail,) = shown(result)
        assert (mail["id"], mail["sender"]) == ("m1", "eve@evil.example")
        assert TOKEN.fullmatch(mail["body"])
    (outcome,) = bodies(made, "call.outcome")
    assert outcome["label"]["integrity"] != "public"
    assert outcome["label"]["level"] == "internal"
    assert "hidden" in outcome


@pytest.mark.guarantee("G31")
def test_a_reveal_is_a_recorded_call_and_taints(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    with Served(made) as served:
        handle = handle_in(served.call("test__mails"))
        assert text_of(served.call("trionyx_reveal", handle=handle)) == INJECTION
    outcome = bodies(made, "call.outcome")[-1]
    assert outcome["tool"]["id"] == "trionyx_reveal"
    assert outcome["label"]["integrity"] == "public"


@pytest.mark.guarantee("G04")
def test_a_handle_as_an_argument_is_its_text_for_policy_record_and_tool(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    with Served(made) as served:
        handle = handle_in(served.call("test__mails"))
        answer = served.call("test__note", text=handle)
        assert answer is not None and not answer["isError"], answer
    assert made.effects()[-1] == {"tool": "note", "arguments": {"text": INJECTION}}
    origins = bodies(made, "call.intent")[-1]["origins"]
    assert (origins[0]["handle"], origins[0]["integrity"]) == (True, "public")
    assert origins[0]["sources"][0]["kind"] == "handle"
    assert INJECTION not in json.dumps(made.records())


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize(
    ("to", "allowed"),
    [
        ("jonas@partner.example", True),
        ("JONAS@partner.example", True),
        ("eve@evil.example", False),
        ("thief@evil.example", False),
        ("onas@partner.example", False),
        ("paul@named.example", True),
    ],
)
def test_a_recipient_needs_the_word_of_the_prompt_or_of_a_trusted_field(
    tmp_path: Path, to: str, allowed: bool
) -> None:
    made = workspace(tmp_path)
    with Served(made, token_for(made, "Write to paul@named.example what is new.")) as served:
        served.call("test__mails")
        answer = served.call("test__send", to=[to], body="Hello.")
        assert answer is not None and answer["isError"] is not allowed, answer


@pytest.mark.guarantee("G31")
def test_extracts_are_charged_and_name_nobody(tmp_path: Path) -> None:
    made = workspace(tmp_path, extract_bits=20)
    with Served(made) as served:
        handle = handle_in(served.call("test__mails"))
        extract = "trionyx_extract"
        got = served.call(extract, handle=handle, type="integer", minimum="0", maximum="10000", which=1)
        assert text_of(got) == "4711"
        address = served.call(extract, handle=handle, type="email")
        assert TOKEN.fullmatch(text_of(address)) and "evil" not in json.dumps(address)
        sent = served.call("test__send", to=[text_of(address)], body="Hello.")
        assert sent is not None and sent["isError"]
        equal = served.call("trionyx_compare", handle=handle, op="contains", constant="ignore all")
        assert text_of(equal) == "true"
        more = served.call(extract, handle=handle, type="integer", minimum="0", maximum="10000")
        assert more is not None and more["isError"] and "4711" not in text_of(more)
    assert not [effect for effect in made.effects() if effect["tool"] == "send"]
    assert bodies(made, "call.outcome")[-1]["label"]["integrity"] != "public"


@pytest.mark.guarantee("G31")
@pytest.mark.parametrize("role", ["plain", "content", "target"])
def test_whether_a_hidden_text_fits_a_pattern_is_not_told(tmp_path: Path, role: str) -> None:
    told = []
    for name, body in (("one", "aaaa"), ("other", "send")):
        (tmp_path / name).mkdir()
        made = workspace(tmp_path / name, [{**MAILS[0], "body": body}])
        describe(made, "typed", code=(role, "text"))
        with Served(made) as served:
            handle = handle_in(served.call("test__mails"))
            whole: list[Any] = [handle, {"$trx": handle.split(":")[1]}]
            answers = [served.call("test__typed", code=code) for code in whole]
            note = served.call("test__note", text=handle)
            assert note is not None and not note["isError"]
        told.append([(refused(answer), re.sub(r"call \w+", "", text_of(answer))) for answer in answers])
    assert told[0] == told[1]
    assert all("takes no handle" in words for _, words in told[0])


@pytest.mark.guarantee("G31")
def test_handles_of_another_run_or_made_up_are_nothing(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    with Served(made) as served:
        handle = handle_in(served.call("test__mails"))
    shutil.rmtree(made.root / "audit")
    with Served(made) as served:
        assert "TRX-MALFORMED" in refused(served.call("test__note", text=handle))
        other = served.call("trionyx_reveal", handle=handle)
        assert other is not None and other["isError"]
        assert "TRX-MALFORMED" in refused(served.call("test__note", text={"$trx": "h" + "a" * 16}))


@pytest.mark.guarantee("G30")
def test_what_the_run_wrote_comes_back_no_better_not_even_to_a_later_process(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    run = token_for(made, "Tidy the notes.")
    stored = [{**MAILS[0], "recipients": ["thief@evil.example"]}]
    with Served(made, run) as served:
        noted = served.call("test__note", text="please remember thief@evil.example for later")
        assert noted is not None and not noted["isError"]
    (tmp_path / "mails.json").write_text(json.dumps(stored))
    with Served(made, run) as served:
        served.call("test__mails")
        answer = served.call("test__send", to=["thief@evil.example"], body="Hello.")
        assert answer is not None and answer["isError"]


@pytest.mark.guarantee("G29")
@pytest.mark.guarantee("G31")
def test_a_later_process_knows_handles_origins_and_the_budget_again(tmp_path: Path) -> None:
    made = workspace(tmp_path, extract_bits=2)
    run = token_for(made, "Read the inbox.")
    with Served(made, run) as served:
        handle = handle_in(served.call("test__mails"))
        compare = {"handle": handle, "op": "contains", "constant": "Ignore"}
        assert text_of(served.call("trionyx_compare", **compare)) == "true"
    with Served(made, run) as served:
        answer = served.call("test__send", to=["jonas@partner.example"], body="Hello.")
        assert answer is not None and not answer["isError"], answer
        assert text_of(served.call("trionyx_compare", **compare)) == "true"
        spent = served.call("trionyx_compare", **compare)
        assert spent is not None and spent["isError"]
        assert text_of(served.call("trionyx_reveal", handle=handle)) == INJECTION


@pytest.mark.guarantee("G29")
def test_without_its_payloads_a_later_process_trusts_nothing_but_the_prompt(tmp_path: Path) -> None:
    made = workspace(tmp_path)
    run = token_for(made, "Write to paul@named.example.")
    with Served(made, run) as served:
        served.call("test__mails")
    (log,) = made.logs()
    shutil.rmtree(log / "payload")
    (log / "payload").mkdir(mode=0o700)
    with Served(made, run) as served:
        served.call("test__mails")
        vouched = served.call("test__send", to=["paul@named.example"], body="Hello.")
        forgotten = served.call("test__send", to=["jonas@partner.example"], body="Hello.")
        assert vouched is not None and not vouched["isError"], vouched
        assert forgotten is not None and forgotten["isError"]


@pytest.mark.guarantee("G31")
@pytest.mark.parametrize("is_revealed", [False, True])
def test_what_is_extracted_after_a_reveal_is_endorsed_by_nobody(tmp_path: Path, is_revealed: bool) -> None:
    made = workspace(tmp_path)
    describe(made, "typed", date=("when", "date"))
    amend(made, "provenance", lambda found: found["requirements"]["local"].update(when="org"))
    with Served(made) as served:
        handle = handle_in(served.call("test__mails"))
        if is_revealed:
            served.call("trionyx_reveal", handle=handle)
        got = served.call(
            "trionyx_extract", handle=handle, type="date", minimum="2026-01-01", maximum="2026-12-31"
        )
        assert text_of(got) == "2026-03-04"
        answer = served.call("test__typed", date="2026-03-04")
        assert answer is not None and answer["isError"] is is_revealed, answer


@pytest.mark.guarantee("G30")
def test_a_plain_argument_that_comes_back_in_a_trusted_field_vouches_for_nothing(tmp_path: Path) -> None:
    made = workspace(tmp_path, [{**MAILS[0], "recipients": ["thief@evil.example"]}])
    with Served(made) as served:
        served.call("test__mails", folder="thief@evil.example")
        answer = served.call("test__send", to=["thief@evil.example"], body="Hello.")
        assert answer is not None and answer["isError"]
