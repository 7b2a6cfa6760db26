package trionyx.main_test

import data.trionyx.main
import data.trionyx.testing

test_every_pack_answers if {
	packs := {"catalog", "classics", "egress", "flow", "limits", "paths", "peers", "provenance", "risk"}
	main.packs == packs with input as testing.call({})
}

test_contributions_are_stamped_with_their_pack if {
	main.decision.allow == [{"id": "CATALOG-100", "pack": "catalog"}] with input as testing.call({})
		with data.trionyx.catalog as testing.catalog
}

test_a_contribution_of_the_wrong_shape_reaches_the_host if {
	main.entries("odd", true) == {{"pack": "odd"}}
	main.entries("odd", {{"id": "X"}, "text"}) == {{"id": "X", "pack": "odd"}, {"pack": "odd"}}
	main.entries("odd", {[1]}) == {{"pack": "odd", 0: 1}}
}

# Switches: AA-001 off, AA-002 ask, AA-003 deny, AA-004 in an unknown position, AA-005 without one.

entry(identity) := {"id": identity, "pack": "a"}

all := [entry("AA-001"), entry("AA-002"), entry("AA-003"), entry("AA-004"), entry("AA-005"), {"pack": "a"}]

identities(entries) := {object.get(entry, "id", "none") | some entry in entries}

test_a_denial_denies_unless_it_is_switched_to_ask_or_off if {
	decision := main.decision with main.denials as all with main.requests as [] with data.trionyx.rules as testing.rules
		with input as testing.call({})
	identities(decision.deny) == {"AA-003", "AA-004", "AA-005", "none"}
	identities(decision.approve) == {"AA-002"}
}

test_a_request_for_approval_asks_unless_it_is_switched if {
	decision := main.decision with main.denials as [] with main.requests as all with data.trionyx.rules as testing.rules
		with input as testing.call({})
	identities(decision.deny) == {"AA-003", "AA-004"}
	identities(decision.approve) == {"AA-002", "AA-005", "none"}
}

test_without_switches_every_rule_is_in_force if {
	decision := main.decision with main.denials as all with main.requests as all with data.trionyx.rules as {}
		with input as testing.call({})
	count(decision.deny) == count(all)
	count(decision.approve) == count(all)
}
