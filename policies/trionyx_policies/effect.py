"""The host's effect of an answer: deny overrides, nothing is allowed by default, demands must be met.

No pack can change this: packs only contribute. Pure; the order of contributions has no influence.
"""

from __future__ import annotations

from collections.abc import Iterable

from trionyx_policies.answer import Answer
from trionyx_policies.decision import Decision, Obligation, Outcome, Rule

UNPERMITTED = Rule(
    id="TRX-DEFAULT",
    pack="host",
    title="No rule of the policy allows this call",
    remedy="Ask the policy's owner for a rule that allows it.",
)
UNMEETABLE = Rule(
    id="TRX-OBLIGATION",
    pack="host",
    title="The policy demands something that the proxy cannot fulfil",
    remedy="Tell the policy's owner.",
)

TRANSFORMS = frozenset({"replace_arg", "drop_arg"})
OBLIGATIONS = TRANSFORMS | {"max_result_bytes", "hide_text"}


def decide(answer: Answer, *, revision: int, digest: str) -> Decision:
    """Compute the effect of one answer.

    Args:
        answer: parsed, hence of known rules only.
        revision: revision of the bundle that answered.
        digest: hex digest of that bundle.
    """

    def decision(
        outcome: Outcome,
        rules: Iterable[Rule],
        obligations: Iterable[Obligation] = (),
        labels: Iterable[bytes] = (),
    ) -> Decision:
        return Decision(
            outcome=outcome,
            rules=tuple(sorted(rules, key=lambda rule: rule.id)),
            obligations=tuple(sorted(obligations, key=_order)),
            labels=tuple(sorted(labels)),
            revision=revision,
            digest=digest,
        )

    if answer.deny:
        return decision(Outcome.DENY, answer.deny)
    if not answer.allow:
        return decision(Outcome.DENY, (UNPERMITTED,))
    if not all(_can_be_met(obligation) for obligation in answer.oblige) or _contradict(answer.oblige):
        return decision(Outcome.DENY, (UNMEETABLE,))
    if answer.approve:
        return decision(Outcome.ASK, answer.approve, answer.oblige, answer.labels)
    return decision(Outcome.ALLOW, answer.allow, answer.oblige, answer.labels)


def _can_be_met(obligation: Obligation) -> bool:
    match obligation.type:
        case "replace_arg":
            return obligation.pointer != ""
        case "drop_arg":
            return obligation.pointer != "" and obligation.value == b"null"
        case "max_result_bytes":
            return obligation.pointer == "" and obligation.value.isdigit() and obligation.value != b"0"
        case "hide_text":
            return obligation.pointer == "" and obligation.value == b"null"
        case _:
            return False


def _contradict(obligations: frozenset[Obligation]) -> bool:
    """Tell whether two transforms touch one place, or one inside the other, in different ways."""
    changes = sorted({(o.pointer, o.type, o.value) for o in obligations if o.type in TRANSFORMS})
    places = [pointer for pointer, _, _ in changes]
    return len(set(places)) < len(places) or any(
        inner.startswith(f"{outer}/") for outer in places for inner in places
    )


def _order(obligation: Obligation) -> tuple[str, str, str, bytes]:
    return obligation.rule, obligation.type, obligation.pointer, obligation.value
