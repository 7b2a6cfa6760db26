package trionyx.policy.risk_test

import data.trionyx.policy.risk
import data.trionyx.testing

denied(call) := denied_from(call, "critical")

denied_from(call, threshold) := ids if {
	ids := {entry.id | some entry in risk.deny} with input as call
		with data.trionyx.risk as object.union(testing.risk, {"kill_at": threshold})
}

reading := testing.labelled(testing.call({}), testing.secret)

sending := testing.labelled(testing.send([], {}), testing.secret)

test_a_run_below_the_threshold_goes_on if denied(reading) == set()

test_a_run_at_the_threshold_is_over if denied(sending) == {"RISK-001"}

test_it_is_over_for_reading_too if {
	denied(object.union(reading, {"run": {"by_effect": {"egress": 1}}})) == {"RISK-001"}
	denied(object.union(reading, {"run": {"by_effect": {"egress": 0}}})) == set()
}

test_a_declared_capability_counts_from_the_start if {
	denied(object.union(reading, {"run": {"agent": "clerk"}})) == {"RISK-001"}
}

test_a_lower_threshold_ends_more_runs if {
	denied_from(reading, "high") == {"RISK-001"}
	denied_from(testing.call({}), "moderate") == set()
	denied_from(testing.send([], {}), "moderate") == {"RISK-001"}
}

test_never_ends_no_run if denied_from(sending, "never") == set()

test_what_the_tables_lack_is_not_below if {
	denied_from(testing.call({}), "sometime") == {"RISK-001"}
	denied(testing.act("book", "target", {})) == {"RISK-001"}
	denied(testing.labelled(testing.call({}), object.union(testing.public, {"integrity": "org"}))) == {"RISK-001"}
}
