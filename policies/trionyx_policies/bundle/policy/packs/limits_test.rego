package trionyx.policy.limits_test

import data.trionyx.policy.limits
import data.trionyx.testing

denied(run) := ids if {
	ids := {entry.id | some entry in limits.deny} with input as testing.call({"run": run})
		with data.trionyx.limits as testing.limits
}

obliged(call) := found if {
	found := limits.oblige with input as call with data.trionyx.limits as testing.limits
}

test_just_below_every_limit_is_fine if {
	denied({"calls": 9, "same_call": 2, "denied": 4, "in_flight": 1, "by_effect": {"read": 3, "egress": 99}}) == set()
}

test_calls_are_limited if denied({"calls": 10}) == {"LIM-001"}

test_repetition_is_limited if denied({"same_call": 3}) == {"LIM-002"}

test_an_effect_is_limited if denied({"by_effect": {"read": 4}}) == {"LIM-003"}

test_denials_are_limited if denied({"denied": 5}) == {"LIM-004"}

test_calls_at_once_are_limited if denied({"in_flight": 2}) == {"LIM-005"}

test_results_of_an_effect_are_limited if {
	obliged(testing.fetch({})) == {{"id": "LIM-010", "type": "max_result_bytes", "pointer": "", "value": 1000}}
}

test_results_of_other_effects_are_not if obliged(testing.call({})) == set()
