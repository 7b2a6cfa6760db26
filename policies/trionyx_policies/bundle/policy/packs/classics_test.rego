package trionyx.policy.classics_test

import data.trionyx.policy.classics
import data.trionyx.testing

denied(call) := ids if {
	ids := {entry.id | some entry in classics.deny} with input as call
		with data.trionyx.classics as testing.classics
		with data.trionyx.catalog as testing.catalog
		with data.trionyx.paths as testing.paths
}

clean := {"categories": [], "integrity": "org", "level": "public", "readers": "*"}

private := {"categories": [], "integrity": "org", "level": "internal", "readers": "*"}

money(label) := testing.labelled(testing.act("money", "target", {}), label)

test_a_run_that_has_seen_nothing_may_act if denied(money(clean)) == set()

test_private_data_alone_is_fine if denied(money(private)) == set()

test_untrusted_text_alone_is_strict_integrity if denied(money(testing.public)) == {"BIBA-001"}

test_both_and_reaching_outside_are_one_too_many if {
	denied(money(testing.internal)) == {"TRIFECTA-001", "RULETWO-001", "BIBA-001"}
}

test_both_and_changing_something_break_the_rule_of_two_only if {
	removing := testing.labelled(testing.act("read", "target", {}), testing.internal)
	denied(removing) == set()
	here := object.union(removing, {"tool": {"effect": "destroy"}})
	{"RULETWO-001", "BIBA-001"} == {id | some id in denied(here); id != "BLP-001"}
}

test_nothing_is_written_below_what_was_read if {
	denied(testing.labelled(testing.send([], {}), clean)) == set()
	denied(testing.labelled(testing.send([], {}), private)) == {"BLP-001"}
	denied(money(object.union(private, {"level": "secret"}))) == {"BLP-001"}
}

test_an_effect_without_a_level_is_below_everything if {
	denied(testing.labelled(testing.act("local", "target", {}), clean)) == {"BLP-001"}
}

clerk(call) := object.union(call, {"run": {"agent": "clerk"}})

test_an_agent_reads_no_lower_integrity_than_it_may if {
	denied(testing.call({})) == set()
	denied(clerk(testing.call({}))) == {"BIBA-002"}
}

test_an_agent_reads_no_higher_level_than_it_may if {
	looking := testing.touch("read", {"path": "/data/secrets/key"})
	denied(looking) == set()
	"BLP-002" in denied(clerk(looking))
	not "BLP-002" in denied(clerk(testing.touch("read", {"path": "/data/shared/plan"})))
}
