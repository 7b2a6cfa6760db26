"""Cedar's theorems for the combination of rules, with abstract rules; and what the host adds to the policy's answer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trionyx_policies.decision import Obligation, Outcome
from trionyx_proxy.core.label import BOTTOM, TOP
from trionyx_proxy.core.request import Reason, RejectionCode
from trionyx_proxy.core.verdict import (
    HOST_REASONS,
    REJECTION_RULES,
    Contribution,
    HostRule,
    Stance,
    Verdict,
    combine,
    judge,
)
from trionyx_testing.calls import ALLOW, ASK, DENY, DROP, INTERNAL, SECRET, decision

pytestmark = pytest.mark.guarantee("G05")

# An abstract rule is what it is for and whether its condition is true, false or an error, as in cedar-drt's
# rbac-authorizer target. A rule whose condition is false contributes nothing.
CONDITIONS = ("true", "false", "error")
AbstractRule = tuple[str, Stance, str]
RULES: list[AbstractRule] = [
    (f"{stance.value.upper()}-{condition}-{number}", stance, condition)
    for stance, condition, number in itertools.product(Stance, CONDITIONS, range(3))
]
RULE_SETS = st.lists(st.sampled_from(RULES), max_size=8)


def contributions(rules: list[AbstractRule]) -> list[Contribution]:
    return [
        Contribution(Reason(id_, id_), stance, condition == "error")
        for id_, stance, condition in rules
        if condition != "false"
    ]


def holds(rules: list[AbstractRule], stance: Stance, condition: str = "true") -> bool:
    return any(rule[1:] == (stance, condition) for rule in rules)


def errs(rules: list[AbstractRule]) -> bool:
    return any(condition == "error" for _, _, condition in rules)


@given(RULE_SETS)
@example([("a", Stance.PERMIT, "true"), ("b", Stance.FORBID, "true")])
def test_forbid_trumps_permit(rules: list[AbstractRule]) -> None:
    if holds(rules, Stance.FORBID):
        assert combine(contributions(rules)).stance is Stance.FORBID


@given(RULE_SETS)
def test_allowed_only_if_explicitly_permitted(rules: list[AbstractRule]) -> None:
    if combine(contributions(rules)).stance is Stance.PERMIT:
        assert holds(rules, Stance.PERMIT)


@given(RULE_SETS)
def test_an_error_forbids(rules: list[AbstractRule]) -> None:
    """Cedar skips the rule that errs; a forbid that cannot be evaluated must not vanish here."""
    verdict = combine(contributions(rules))
    if errs(rules):
        assert verdict.stance is Stance.FORBID
    assert {reason.id for reason in verdict.erroring} == {
        id_ for id_, _, condition in rules if condition == "error"
    }


def test_default_deny() -> None:
    assert combine([]) == Verdict(Stance.FORBID, (HOST_REASONS[HostRule.DEFAULT],))


@given(RULE_SETS)
def test_an_ask_trumps_a_permit_and_yields_to_a_forbid(rules: list[AbstractRule]) -> None:
    if combine(contributions(rules)).stance is Stance.ASK:
        assert holds(rules, Stance.ASK) and not holds(rules, Stance.FORBID) and not errs(rules)
    elif holds(rules, Stance.ASK):
        assert combine(contributions(rules)).stance is Stance.FORBID


@given(RULE_SETS.flatmap(lambda rules: st.tuples(st.just(rules), st.permutations(rules))))
def test_order_and_duplicates_do_not_matter(sets: tuple[list[AbstractRule], list[AbstractRule]]) -> None:
    rules, shuffled = sets
    verdict = combine(contributions(rules))
    assert combine(contributions(shuffled)) == verdict
    assert combine(contributions(rules + shuffled)) == verdict


@given(RULE_SETS)
def test_the_determining_rules_are_those_that_have_the_verdicts_stance(rules: list[AbstractRule]) -> None:
    verdict = combine(contributions(rules))
    wanted = tuple(
        sorted({id_ for id_, stance, held in rules if stance is verdict.stance and held == "true"})
    )
    if wanted or errs(rules):
        assert tuple(reason.id for reason in verdict.determining) == wanted
    else:
        assert verdict.determining == (HOST_REASONS[HostRule.DEFAULT],)
    assert verdict.reasons


@pytest.mark.guarantee("G10")
def test_rules_are_named_in_order_whatever_order_they_came_in() -> None:
    ids = [f"EGR-{number:03}" for number in range(20)]
    verdict = combine(Contribution(Reason(id_, id_), Stance.FORBID) for id_ in reversed(ids))
    assert [reason.id for reason in verdict.determining] == ids


def test_every_pair_of_abstract_rules_agrees_with_the_definition() -> None:
    for pair in itertools.product(RULES, repeat=2):
        rules = list(pair)
        if errs(rules) or holds(rules, Stance.FORBID):
            expected = Stance.FORBID
        elif holds(rules, Stance.ASK):
            expected = Stance.ASK
        else:
            expected = Stance.PERMIT if holds(rules, Stance.PERMIT) else Stance.FORBID
        assert combine(contributions(rules)).stance is expected, rules


def test_the_policys_decision_keeps_its_stance_where_the_flow_holds() -> None:
    assert judge(ALLOW, label=BOTTOM, clearance=INTERNAL).stance is Stance.PERMIT
    assert judge(DENY, label=BOTTOM, clearance=INTERNAL).stance is Stance.FORBID
    assert judge(ASK, label=BOTTOM, clearance=INTERNAL).stance is Stance.ASK


@pytest.mark.parametrize("outcome", Outcome)
def test_a_decision_that_names_no_rule_is_a_denial(outcome: Outcome) -> None:
    verdict = judge(decision(outcome), label=BOTTOM, clearance=TOP)
    assert verdict == Verdict(Stance.FORBID, (HOST_REASONS[HostRule.DEFAULT],))


@pytest.mark.guarantee("G07")
def test_the_flow_check_forbids_what_the_policy_allows() -> None:
    verdict = judge(ALLOW, label=SECRET, clearance=INTERNAL)
    assert verdict.stance is Stance.FORBID
    assert [reason.id for reason in verdict.reasons] == ["TRX-FLOW"]


def test_a_denial_names_the_policys_rule_and_the_hosts() -> None:
    verdict = judge(DENY, label=SECRET, clearance=INTERNAL)
    assert [reason.id for reason in verdict.reasons] == ["EGR-001", "TRX-FLOW"]
    assert verdict.reasons[0] == Reason("EGR-001", "title of EGR-001", "remedy of EGR-001")


def test_a_call_that_is_about_to_change_is_not_judged_by_its_old_sink() -> None:
    verdict = judge(decision(Outcome.ALLOW, "CAT-001", obligations=(DROP,)), label=SECRET, clearance=INTERNAL)
    assert verdict.stance is Stance.PERMIT
    assert verdict.transforms == (DROP,)


def test_the_smallest_limit_counts() -> None:
    limits = tuple(Obligation("LIM-001", "max_result_bytes", "", value) for value in (b"900", b"70", b"8000"))
    allowed = decision(Outcome.ALLOW, "CAT-001", obligations=limits)
    assert judge(allowed, label=BOTTOM, clearance=TOP).max_result_bytes == 70


@pytest.mark.parametrize(
    "obligation",
    [
        Obligation("X-001", "encrypt_arg", "/to"),
        *(
            Obligation("X-001", "max_result_bytes", "", value)
            for value in (b"", b"0", b"-1", b"true", b"1.5", b'"9"')
        ),
    ],
)
@pytest.mark.guarantee("G03")
def test_an_obligation_that_cannot_be_fulfilled_forbids(obligation: Obligation) -> None:
    verdict = judge(
        decision(Outcome.ALLOW, "CAT-001", obligations=(obligation,)), label=BOTTOM, clearance=TOP
    )
    assert verdict.stance is Stance.FORBID
    assert [reason.id for reason in verdict.erroring] == ["TRX-OBLIGATION"]


@pytest.mark.guarantee("G26")
def test_every_host_rule_says_what_it_is_about_in_one_plain_line() -> None:
    assert set(HOST_REASONS) == set(HostRule)
    assert set(REJECTION_RULES) == set(RejectionCode)
    for rule, reason in HOST_REASONS.items():
        assert reason.id == rule.value
        assert reason.id.startswith("TRX-") and reason.id.replace("-", "").isalpha() and reason.id.isupper()
        for text in (reason.title, reason.remedy):
            assert "\n" not in text and not text.endswith(".") and text[:1] == text[:1].lower()
        assert reason.title
