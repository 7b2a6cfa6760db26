package trionyx.policy.provenance_test

import data.trionyx.policy.provenance
import data.trionyx.testing

denied(call) := denied_with(call, testing.provenance)

denied_with(call, table) := ids if {
	ids := {entry.id | some entry in provenance.deny} with input as call
		with data.trionyx.provenance as table
		with data.trionyx.egress as testing.egress
		with data.trionyx.catalog as testing.catalog
}

asked(call) := ids if {
	ids := {entry.id | some entry in provenance.approve} with input as call
		with data.trionyx.provenance as testing.provenance
}

obliged(call, flow) := found if {
	found := provenance.oblige with input as call with data.trionyx.flow as flow
}

org := {"integrity": "org"}

nobody := {"integrity": "public"}

tainted(call) := testing.labelled(call, testing.public)

# Requirements, role by role: just enough is fine, one step less is not.

test_a_target_needs_something_trusted if {
	denied(testing.act("egress", "target", org)) == set()
	denied(testing.act("egress", "target", nobody)) == {"PROV-002"}
	denied(testing.act("destroy", "target", nobody)) == {"PROV-002"}
}

test_a_selector_needs_something_trusted if {
	denied(testing.act("egress", "selector", org)) == set()
	denied(testing.act("egress", "selector", nobody)) == {"PROV-003"}
}

test_a_secret_needs_the_user if {
	denied(testing.act("egress", "secret", {})) == set()
	denied(testing.act("egress", "secret", {"integrity": "system"})) == {"PROV-004"}
}

test_a_booking_time_needs_the_user if {
	denied(testing.act("book", "when", {})) == set()
	denied(testing.act("book", "when", {"integrity": "system"})) == {"PROV-005"}
	denied(testing.act("egress", "when", nobody)) == set()
}

test_the_day_is_enough_of_a_date_where_the_data_says_so if {
	denied(testing.act("book", "when", {"integrity": "public", "day": "user"})) == set()
	denied(testing.act("book", "when", {"integrity": "public", "day": "system"})) == {"PROV-005"}
	denied(testing.act("book", "title", {"integrity": "public", "day": "user"})) == {"PROV-007"}
	denied_with(testing.act("book", "when", {"integrity": "public", "day": "user"}), testing.strict) == {"PROV-005"}
}

test_an_amount_needs_what_the_table_says if {
	denied(testing.act("money", "amount", {"integrity": "system"})) == set()
	denied(testing.act("money", "amount", org)) == {"PROV-006"}
}

test_a_booking_title_needs_trusted_words if {
	denied(testing.act("book", "title", org)) == set()
	denied(testing.act("book", "title", nobody)) == {"PROV-007"}
}

test_a_link_needs_something_trusted if {
	denied(testing.act("egress", "link", org)) == set()
	denied(testing.act("egress", "link", nobody)) == {"PROV-008"}
}

test_text_needs_what_the_table_says if {
	denied(testing.act("money", "content", nobody)) == {"PROV-013"}
	denied(testing.act("money", "content", org)) == set()
	denied(testing.act("egress", "content", nobody)) == set()
}

test_a_plain_value_needs_nothing if {
	denied(testing.act("money", "plain", nobody)) == set()
	denied(testing.act("money", "plain", hidden)) == set()
}

test_reading_needs_nothing if {
	every role in object.keys(testing.none) {
		denied(testing.act("read", role, nobody)) == set()
	}
}

test_what_the_table_lacks_does_not_suffice if {
	denied_with(testing.act("egress", "target", {}), {"requirements": {}}) == {"PROV-002"}
	denied_with(testing.act("egress", "target", {}), {"requirements": {"egress": {"target": "all"}}}) == {"PROV-002"}
	denied(testing.act("authz", "selector", {})) == {"PROV-003"}
}

test_one_bad_argument_among_good_ones_is_enough if {
	denied(testing.acting("egress", [{"arg": "/to/0"}, {"arg": "/to/1", "integrity": "public"}])) == {"PROV-002"}
}

test_several_roles_are_told_together if {
	both := testing.acting("book", [{"role": "when", "integrity": "org"}, {"role": "title", "integrity": "public"}])
	denied(both) == {"PROV-005", "PROV-007"}
}

# Web addresses

fetching(url, origin) := object.union(
	testing.fetch(url),
	{"facts": {"origins": [object.union(testing.named, object.union({"arg": "/url", "type": "url"}, origin))]}},
)

test_a_fetched_address_needs_something_trusted if {
	denied(fetching({}, org)) == set()
	denied(fetching({}, nobody)) == {"PROV-009"}
}

test_a_page_of_a_familiar_host_may_be_fetched if {
	every host in ["named.example", "www.listed.example", "intranet.corp.example"] {
		denied(fetching({"host": host}, nobody)) == set()
		denied_with(fetching({"host": host}, nobody), testing.strict) == {"PROV-009"}
	}
}

test_nothing_is_sent_along_to_a_familiar_host if {
	denied(fetching({"host": "named.example", "query_bytes": 1}, nobody)) == {"PROV-009"}
	denied(fetching({"host": "named.example", "userinfo": true}, nobody)) == {"PROV-009"}
	denied(fetching({"host": "named.example", "query_bytes": 1}, org)) == set()
}

test_a_familiar_page_excuses_no_other if {
	familiar := object.union(testing.page, {"host": "named.example"})
	unknown := object.union(testing.page, {"host": "x.example", "arg": "/other"})
	both := object.union(testing.fetch({}), {"facts": {
		"urls": [familiar, unknown],
		"origins": [object.union(testing.named, {"arg": arg, "integrity": "public"}) | some arg in ["/url", "/other"]],
	}})
	denied(both) == {"PROV-009"}
	vouched := object.union(both, {"facts": {
		"urls": [familiar, unknown],
		"origins": [
			object.union(testing.named, {"arg": "/url", "integrity": "public"}),
			object.union(testing.named, {"arg": "/other", "integrity": "org"}),
		],
	}})
	denied(vouched) == set()
}

test_two_addresses_in_one_place_are_both_looked_at if {
	pages := [object.union(testing.page, {"host": host}) | some host in ["named.example", "x.example"]]
	denied(object.union(fetching({}, nobody), {"facts": {"urls": pages}})) == {"PROV-009"}
}

test_only_fetching_is_excused_by_the_host if {
	posting := object.union(
		testing.act("egress", "target", {"arg": "/url", "integrity": "public"}),
		{"facts": {"urls": [object.union(testing.page, {"host": "named.example"})]}},
	)
	denied(posting) == {"PROV-002"}
}

# Links

writing(hosts, links) := object.union(
	testing.acting("egress", array.concat(
		[{"arg": "/body", "role": "content", "integrity": "public"}],
		[object.union({"arg": "/body", "role": "link", "type": "url"}, link) | some link in links],
	)),
	{"facts": {"text": [object.union(testing.text, {"urls": hosts})]}},
)

test_a_link_to_a_familiar_host_is_fine_where_the_data_says_so if {
	denied(writing(["named.example"], [nobody])) == set()
	denied_with(writing(["named.example"], [nobody]), testing.strict) == {"PROV-008"}
}

test_a_familiar_link_excuses_no_other if {
	denied(writing(["named.example", "x.example"], [nobody, nobody])) == {"PROV-008"}
}

test_a_link_that_the_host_did_not_trace_is_noticed if {
	denied(writing(["a.example", "b.example"], [org])) == {"PROV-001"}
	denied(writing(["a.example", "b.example"], [org, org])) == set()
}

# Completeness

passing(effect, args, origins) := object.union(testing.acting(effect, origins), {"args": args})

test_an_argument_without_an_origin_is_noticed if {
	every value in ["x", 1, true] {
		denied(passing("egress", {"a": value}, [])) == {"PROV-001"}
		denied(passing("egress", {"a": value}, [{}])) == set()
	}
}

test_a_list_element_without_an_origin_is_noticed if {
	denied(passing("egress", {"to": ["x", "y"]}, [{"arg": "/to/0"}])) == {"PROV-001"}
	denied(passing("egress", {"to": ["x", "y"]}, [{"arg": "/to/0"}, {"arg": "/to/1"}])) == set()
}

test_what_names_nothing_has_no_origin if {
	denied(passing("egress", {"a": null, "to": [], "more": {"inner": null}}, [])) == set()
}

test_plain_arguments_are_not_traced if {
	plain := object.union(testing.send([], {}), {"args": {"urgent": true, "tags": ["a", "b"], "none": null}})
	denied(plain) == set()
	denied(object.union(plain, {"args": {"urgently": true}})) == {"PROV-001"}
	denied(object.union(plain, {"args": {"tag": ["a"]}})) == {"PROV-001"}
}

test_odd_names_are_known_by_a_star if {
	denied(passing("egress", {"ä": 1}, [])) == {"PROV-001"}
	denied(passing("egress", {"ä": 1}, [{"arg": "/*"}])) == set()
	denied(passing("egress", {"a": 1}, [{"arg": "/*"}])) == {"PROV-001"}
}

test_a_fact_without_an_origin_is_noticed if {
	denied(testing.fetch({})) == {"PROV-001"}
	denied(testing.send(["jonas@corp.example"], {})) == {"PROV-001"}
	denied(testing.touch("egress", {"path": "/data/a"})) == {"PROV-001"}
}

test_reading_needs_no_origin if denied(passing("read", {"a": "x"}, [])) == set()

# Handles

hidden := {"handle": true, "integrity": "public"}

test_hidden_text_may_stand_for_text if denied(testing.act("egress", "content", hidden)) == set()

test_hidden_text_names_nothing if {
	every role in ["target", "selector", "secret"] {
		denied(testing.act("egress", role, hidden)) == {"PROV-010"}
	}
}

test_a_trusted_handle_may_name_something if {
	denied(testing.act("egress", "target", object.union(hidden, org))) == set()
}

test_a_handle_is_not_excused_by_the_host if {
	denied(fetching({"host": "named.example"}, hidden)) == {"PROV-010"}
}

# Tainted runs

test_what_a_tainted_run_destroys_is_named_by_the_user if {
	every role in ["target", "selector"] {
		denied(tainted(testing.act("destroy", role, org))) == {"PROV-011"}
		denied(tainted(testing.act("destroy", role, {}))) == set()
	}
	denied(testing.act("destroy", "target", org)) == set()
	denied(tainted(testing.act("egress", "target", org))) == set()
	denied(tainted(testing.act("destroy", "content", nobody))) == set()
}

test_a_tainted_run_asks_before_an_act_that_the_request_does_not_imply if {
	asked(tainted(testing.act("destroy", "target", {}))) == {"PROV-012"}
	asked(testing.act("destroy", "target", {})) == set()
	asked(tainted(testing.act("egress", "target", {}))) == set()
	meant := object.union(testing.act("destroy", "target", {}), {"prompt": {"implies": ["destroy"]}})
	asked(tainted(meant)) == set()
}

test_a_tainted_run_needs_more_for_some_roles if {
	denied(tainted(testing.act("egress", "title", nobody))) == {"PROV-007"}
	denied(tainted(testing.act("egress", "title", org))) == set()
	denied(testing.act("egress", "title", nobody)) == set()
	denied(tainted(testing.act("fetch", "title", nobody))) == set()
}

test_an_unknown_need_of_a_tainted_run_does_not_suffice if {
	denied(tainted(testing.act("egress", "amount", org))) == {"PROV-006"}
	denied(testing.act("egress", "amount", org)) == set()
}

test_whom_a_booking_reaches_is_no_choice_of_what_is_booked if {
	invited := {"integrity": "org", "type": "email"}
	denied(tainted(testing.act("book", "target", invited))) == set()
	denied(tainted(testing.act("destroy", "target", invited))) == {"PROV-011"}
	denied(tainted(testing.act("book", "target", org))) == {"PROV-011"}
}

test_a_tainted_run_asks_before_an_act_on_nothing_that_is_trusted if {
	asked(tainted(testing.acting("authz", []))) == {"PROV-014"}
	asked(tainted(testing.act("authz", "target", nobody))) == {"PROV-014"}
	asked(tainted(testing.act("authz", "content", {}))) == {"PROV-014"}
	asked(tainted(testing.act("authz", "title", org))) == set()
	asked(tainted(testing.act("local", "target", nobody))) == set()
	asked(testing.acting("authz", [])) == set()
}

# Relaying

described(entry) := {"servers": {"x": {"tools": {"act": object.union({"effect": "egress", "args": {}}, entry)}}}}

denied_as(call, entry) := ids if {
	ids := {found.id | some found in provenance.deny} with input as call
		with data.trionyx.provenance as testing.provenance
		with data.trionyx.catalog as described(entry)
}

test_what_relays_is_denied if {
	every label in [testing.base.label, testing.public] {
		call := testing.labelled(testing.act("egress", "target", {}), label)
		denied_as(call, {"relays": true}) == {"PROV-015"}
		denied_as(call, {"relays": false}) == set()
		denied_as(call, {}) == set()
	}
}

test_an_odd_word_about_relaying_means_that_it_relays if {
	every odd in [null, 0, "", "false", [], {}] {
		denied_as(testing.act("egress", "target", {}), {"relays": odd}) == {"PROV-015"}
	}
}

test_relaying_is_denied_whatever_its_effect_is_called if {
	denied_as(testing.act("read", "selector", {}), {"relays": true}) == {"PROV-015"}
	denied_as(testing.act("destroy", "target", {}), {"relays": true}) == {"PROV-015"}
}

test_only_the_tool_that_relays_is_denied if {
	other := object.union(testing.act("egress", "target", {}), {"tool": {"name": "send"}})
	denied_as(other, {"relays": true}) == set()
}

# Hiding

test_untrusted_text_of_what_is_read_is_hidden if {
	every effect in ["read", "fetch"] {
		obliged(testing.act(effect, "plain", {}), testing.flow) == {{
			"id": "PROV-100",
			"type": "hide_text",
			"pointer": "",
			"value": null,
		}}
	}
}

test_hiding_can_be_switched_off_for_all_effects_and_tools if {
	obliged(testing.call({}), object.union(testing.flow, {"hide_text": false})) == set()
	obliged(testing.act("egress", "plain", {}), testing.flow) == set()
	obliged(testing.call({"tool": {"catalog": "own", "name": "reveal"}}), testing.flow) == set()
	obliged(testing.call({"tool": {"catalog": "own", "name": "read"}}), testing.flow) != set()
}
