package trionyx.main_test

import data.trionyx.main
import data.trionyx.testing

test_every_pack_answers if {
	main.packs == {"catalog", "egress", "flow", "limits", "paths"} with input as testing.call({})
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
