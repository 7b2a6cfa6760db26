package trionyx.policy.flow_test

import data.trionyx.policy.flow
import data.trionyx.testing

denied(call) := ids if {
	ids := {entry.id | some entry in flow.deny} with input as call
		with data.trionyx.flow as testing.flow
		with data.trionyx.egress as testing.egress
		with data.trionyx.paths as testing.paths
		with data.trionyx.clearances as testing.clearances
}

asked(call) := ids if {
	ids := {entry.id | some entry in flow.approve} with input as call with data.trionyx.flow as testing.flow
}

effect(name) := testing.call({"tool": {"effect": name}})

# Money after untrusted text

test_money_in_a_tainted_run_is_denied if {
	denied(testing.labelled(effect("money"), testing.public)) == {"FLOW-001"}
}

test_money_in_a_clean_run_is_not if denied(effect("money")) == set()

test_reading_in_a_tainted_run_is_not if denied(testing.labelled(effect("read"), testing.secret)) == set()

# Recipients after untrusted text

test_a_tainted_run_does_not_mail_outsiders if {
	denied(testing.send(["drop@evil.example"], {"label": testing.public})) == {"FLOW-002"}
}

test_one_outsider_among_colleagues_is_enough if {
	call := testing.send(["jonas@corp.example", "drop@evil.example"], {"label": testing.public})
	denied(call) == {"FLOW-002"}
}

test_a_tainted_run_mails_colleagues_and_whom_the_prompt_names if {
	denied(testing.send(["jonas@corp.example", "named@other.example"], {"label": testing.public})) == set()
}

test_a_clean_run_mails_outsiders if denied(testing.send(["someone@other.example"], {})) == set()

test_a_lookalike_domain_is_not_ours if {
	denied(testing.send(["jonas@notcorp.example"], {"label": testing.public})) == {"FLOW-002"}
}

# Clearance of recipients

test_an_uncleared_recipient_is_denied if {
	call := testing.send(["named@other.example"], {"label": testing.secret})
	denied(call) == {"FLOW-003"}
}

test_a_cleared_domain_and_its_subdomains_are_not if {
	denied(testing.send(["jonas@corp.example", "ann@mail.corp.example"], {"label": testing.secret})) == set()
}

test_the_longest_listed_domain_counts if {
	denied(testing.send(["desk@press.corp.example"], {"label": testing.internal})) == {"FLOW-003"}
}

test_an_address_counts_more_than_its_domain if {
	label := object.union(testing.secret, {"integrity": "user"})
	denied(testing.send(["lawyer@partner.example"], {"label": label})) == set()
	denied(testing.send(["sales@partner.example"], {"label": label})) == {"FLOW-003"}
}

# Clearance of hosts

test_an_uncleared_host_is_denied if {
	call := testing.labelled(testing.fetch({"host": "named.example"}), testing.secret)
	denied(call) == {"FLOW-004"}
}

test_a_cleared_host_is_not if {
	clean := object.union(testing.secret, {"integrity": "user"})
	denied(testing.labelled(testing.fetch({"host": "api.partner.example"}), clean)) == set()
	denied(testing.labelled(testing.fetch({"host": "www.corp.example"}), clean)) == set()
}

# Places that others rely on

test_writing_where_others_rely_on_it_is_denied_after_untrusted_text if {
	denied(testing.labelled(testing.touch("local", {"path": "/data/shared/a"}), testing.public)) == {"FLOW-005"}
}

test_writing_there_is_denied_after_secrets if {
	clean := object.union(testing.secret, {"integrity": "user"})
	denied(testing.labelled(testing.touch("local", {"path": "/data/shared/a"}), clean)) == {"FLOW-005"}
}

test_writing_there_in_a_clean_run_and_elsewhere_is_not if {
	denied(testing.touch("local", {"path": "/data/shared/a"})) == set()
	denied(testing.labelled(testing.touch("local", {"path": "/data/notes/a"}), testing.secret)) == set()
	denied(testing.labelled(testing.touch("local", {"path": "/data/sharedness"}), testing.secret)) == set()
	denied(testing.labelled(testing.touch("read", {"path": "/data/shared/a"}), testing.secret)) == set()
}

# Web hosts after untrusted text and private data

test_a_tainted_run_with_private_data_fetches_no_unknown_host if {
	denied(testing.labelled(testing.fetch({}), testing.internal)) == {"FLOW-006"}
}

test_it_fetches_ours_listed_and_named_hosts if {
	every host in ["intranet.corp.example", "www.listed.example", "named.example"] {
		denied(testing.labelled(testing.fetch({"host": host}), testing.internal)) == set()
	}
}

test_browsing_without_private_data_is_free if {
	denied(testing.labelled(testing.fetch({}), testing.public)) == set()
}

# Readers

test_a_recipient_who_is_no_reader_is_denied if {
	label := {"categories": [], "integrity": "user", "level": "public", "readers": ["emma@corp.example"]}
	denied(testing.send(["jonas@corp.example"], {"label": label})) == {"FLOW-007"}
	denied(testing.send(["emma@corp.example"], {"label": label})) == set()
}

# Approval

test_an_irreversible_effect_is_asked_for if asked(effect("destroy")) == {"FLOW-020"}

test_reading_is_not_asked_for if asked(effect("read")) == set()

test_selecting_by_an_address_reaches_nobody if {
	selecting := object.union(testing.send(["drop@evil.example"], {"label": testing.secret}), {"tool": {"effect": "read"}})
	denied(selecting) == set()
}

# Origins

from(call, origin) := object.union(call, {"facts": object.union(call.facts, {"origins": [object.union(testing.named, origin)]})})

test_a_trusted_result_may_name_an_outsider if {
	outside := testing.labelled(testing.send(["ann@other.example"], {}), testing.public)
	denied(from(outside, {"arg": "/to/0", "integrity": "org"})) == set()
	denied(from(outside, {"arg": "/to/0", "integrity": "public"})) == {"FLOW-002"}
	denied(from(outside, {"arg": "/to/0", "integrity": "org", "handle": true})) == {"FLOW-002"}
	denied(from(outside, {"arg": "/to/1", "integrity": "org"})) == {"FLOW-002"}
}

test_a_trusted_result_may_name_a_web_address if {
	page := testing.labelled(testing.fetch({}), testing.internal)
	denied(from(page, {"arg": "/url", "integrity": "org"})) == set()
	denied(from(page, {"arg": "/url", "integrity": "public"})) == {"FLOW-006"}
}
