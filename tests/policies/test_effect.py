"""The host's effect, as theorems over all answers (after cedar-spec, `Cedar/Thm/Authorization.lean`)."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_policies.answer import Answer, parse_answer
from trionyx_policies.decision import Decision, Obligation, Outcome, Rule
from trionyx_policies.effect import OBLIGATIONS, UNMEETABLE, UNPERMITTED, decide

pytestmark = pytest.mark.guarantee("G05")

RULES = tuple(
    Rule(f"R{letter}-{number:03}", letter.lower(), "title") for letter in "AB" for number in range(3)
)
LABELS = tuple(
    f'{{"categories":[],"integrity":"org","level":"{level}","readers":"*"}}'.encode()
    for level in ("public", "internal", "secret")
)

rules = st.frozensets(st.sampled_from(RULES), max_size=3)
good_demands = (
    st.builds(
        Obligation,
        st.sampled_from([rule.id for rule in RULES]),
        st.just("max_result_bytes"),
        st.just(""),
        st.integers(1, 2**53 - 1).map(lambda number: str(number).encode()),
    )
    | st.builds(
        Obligation,
        st.sampled_from([rule.id for rule in RULES]),
        st.just("replace_arg"),
        st.sampled_from(["/a", "/b"]),
        st.just(b'"***"'),
    )
    | st.just(Obligation("RA-001", "hide_text", "", b"null"))
)
bad_demands = st.sampled_from(
    [
        Obligation("RA-000", "notify", "", b"null"),
        Obligation("RA-000", "replace_arg", "", b"null"),
        Obligation("RA-000", "drop_arg", "/a", b"1"),
        Obligation("RA-000", "drop_arg", "", b"null"),
        Obligation("RA-000", "max_result_bytes", "", b"0"),
        Obligation("RA-000", "max_result_bytes", "", b"-1"),
        Obligation("RA-000", "max_result_bytes", "", b"1.5"),
        Obligation("RA-000", "max_result_bytes", "", b'"9"'),
        Obligation("RA-000", "max_result_bytes", "/a", b"9"),
        Obligation("RA-000", "hide_text", "/a", b"null"),
        Obligation("RA-000", "hide_text", "", b"true"),
    ]
)
demands = st.frozensets(good_demands, max_size=3) | st.frozensets(good_demands | bad_demands, max_size=4)
answers = st.builds(Answer, rules, rules, rules, demands, st.frozensets(st.sampled_from(LABELS)))

SEVERITY = {Outcome.ALLOW: 0, Outcome.ASK: 1, Outcome.DENY: 2}


def outcome(answer: Answer) -> Decision:
    return decide(answer, revision=7, digest="d")


@given(answers)
def test_forbid_trumps_permit(answer: Answer) -> None:
    decision = outcome(answer)
    if answer.deny:
        assert decision.outcome is Outcome.DENY
        assert set(decision.rules) == answer.deny


@given(answers)
def test_nothing_is_allowed_unless_a_rule_allows_it(answer: Answer) -> None:
    decision = outcome(answer)
    if decision.outcome is Outcome.ALLOW:
        assert answer.allow and not answer.deny and not answer.approve
        assert set(decision.rules) == answer.allow


@given(answers)
def test_silence_is_a_denial(answer: Answer) -> None:
    decision = outcome(replace(answer, deny=frozenset(), allow=frozenset()))
    assert (decision.outcome, decision.rules) == (Outcome.DENY, (UNPERMITTED,))


@given(answers)
def test_who_needs_a_human_is_never_simply_allowed(answer: Answer) -> None:
    if answer.approve:
        assert outcome(answer).outcome is not Outcome.ALLOW


@given(answers, rules, rules, demands)
def test_more_denials_approvals_or_demands_never_permit_more(
    answer: Answer, deny: frozenset[Rule], approve: frozenset[Rule], oblige: frozenset[Obligation]
) -> None:
    stricter = replace(
        answer, deny=answer.deny | deny, approve=answer.approve | approve, oblige=answer.oblige | oblige
    )
    assert SEVERITY[outcome(stricter).outcome] >= SEVERITY[outcome(answer).outcome]


@given(answers, bad_demands)
def test_a_demand_that_cannot_be_met_is_a_denial(answer: Answer, demand: Obligation) -> None:
    decision = outcome(
        replace(answer, deny=frozenset(), allow=frozenset(RULES), oblige=answer.oblige | {demand})
    )
    assert (decision.outcome, decision.rules) == (Outcome.DENY, (UNMEETABLE,))


@pytest.mark.parametrize(
    ("first", "second", "meant"),
    [
        (("replace_arg", "/a", b"1"), ("replace_arg", "/a", b"2"), Outcome.DENY),
        (("replace_arg", "/a", b"1"), ("drop_arg", "/a", b"null"), Outcome.DENY),
        (("replace_arg", "/a", b"{}"), ("drop_arg", "/a/b", b"null"), Outcome.DENY),
        (("replace_arg", "/a", b"1"), ("replace_arg", "/ab", b"2"), Outcome.ALLOW),
        (("replace_arg", "/a", b"1"), ("replace_arg", "/a", b"1"), Outcome.ALLOW),
        (("max_result_bytes", "", b"1"), ("max_result_bytes", "", b"2"), Outcome.ALLOW),
    ],
)
def test_demands_that_contradict_each_other_are_a_denial(
    first: tuple[str, str, bytes], second: tuple[str, str, bytes], meant: Outcome
) -> None:
    oblige = frozenset({Obligation("RA-000", *first), Obligation("RA-001", *second)})
    answer = Answer(frozenset(), frozenset(), frozenset(RULES), oblige, frozenset())
    assert outcome(answer).outcome is meant


@given(answers)
def test_a_call_that_is_or_may_be_released_carries_all_demands_and_labels(answer: Answer) -> None:
    decision = outcome(answer)
    if decision.outcome is not Outcome.DENY:
        assert set(decision.obligations) == answer.oblige and set(decision.labels) == answer.labels
        assert {demand.type for demand in decision.obligations} <= OBLIGATIONS
    else:
        assert decision.obligations == () and decision.labels == ()


@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_contributions_has_no_influence(answer: Answer, chance: random.Random) -> None:
    def entries(held: frozenset[Rule]) -> list[dict[str, str]]:
        found = [{"id": rule.id, "pack": rule.pack} for rule in held]
        chance.shuffle(found)
        return found

    document = {
        "schema": "trionyx.decision/v1",
        "deny": entries(answer.deny),
        "approve": entries(answer.approve),
        "allow": entries(answer.allow) * 2,
        "oblige": [],
        "label": [],
        "packs": ["b", "a"],
    }
    read = parse_answer(
        json.dumps(document).encode(), rules={rule.id: rule for rule in RULES}, packs=("a", "b")
    )
    assert outcome(read) == outcome(replace(answer, oblige=frozenset(), labels=frozenset()))
