package trionyx.policy.catalog_test

import data.trionyx.policy.catalog
import data.trionyx.testing

denied(call) := ids if {
	ids := {entry.id | some entry in catalog.deny} with input as call with data.trionyx.catalog as testing.catalog
}

allowed(call) := ids if {
	ids := {entry.id | some entry in catalog.allow} with input as call with data.trionyx.catalog as testing.catalog
}

known := testing.call({})

unknown_tool := testing.call({"tool": {"name": "purge"}})

unknown_server := testing.call({"tool": {"catalog": "fax"}})

test_a_known_tool_is_allowed if {
	denied(known) == set()
	allowed(known) == {"CATALOG-100"}
}

test_an_unknown_tool_is_denied if {
	denied(unknown_tool) == {"CATALOG-001"}
	allowed(unknown_tool) == set()
}

test_an_unknown_server_is_denied if denied(unknown_server) == {"CATALOG-001"}

test_an_invalid_argument_is_denied if {
	denied(testing.call({"facts": {"invalid": [{"arg": "/url", "type": "url"}]}})) == {"CATALOG-002"}
}

test_a_tool_with_another_effect_is_denied_and_not_allowed if {
	changed := testing.call({"tool": {"effect": "local"}})
	denied(changed) == {"CATALOG-003"}
	allowed(changed) == set()
}

test_other_points_are_not_allowed if allowed(testing.call({"point": "tool.result"})) == set()
