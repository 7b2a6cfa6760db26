package trionyx.policy.egress_test

import data.trionyx.policy.egress
import data.trionyx.testing

denied(call) := denied_with(call, testing.egress)

denied_with(call, lists) := ids if {
	ids := {entry.id | some entry in egress.deny} with input as call with data.trionyx.egress as lists
}

write(text) := testing.send(["jonas@corp.example"], {"facts": {"text": [object.union(testing.text, text)]}})

loopback := object.union(testing.egress, {"allow_loopback": true})

test_a_plain_page_is_fine if denied(testing.fetch({})) == set()

test_a_plain_mail_is_fine if denied(write({})) == set()

test_user_info_is_denied if denied(testing.fetch({"userinfo": true})) == {"EGR-001"}

test_a_numeric_host_is_denied if denied(testing.fetch({"host": "192.0.2.7", "ip": true})) == {"EGR-002"}

test_a_private_host_is_denied if {
	denied(testing.fetch({"host": "intranet", "private": true})) == {"EGR-003"}
	denied(testing.fetch({"host": "169.254.169.254", "ip": true, "private": true})) == {"EGR-002", "EGR-003"}
}

test_plain_http_is_denied if denied(testing.fetch({"scheme": "http"})) == {"EGR-004"}

test_a_bare_host_has_neither_scheme_nor_port if denied(testing.fetch({"scheme": "", "port": 0})) == set()

test_other_schemes_are_denied if denied(testing.fetch({"scheme": "file"})) == {"EGR-004"}

test_loopback_is_denied_unless_the_data_allows_it if {
	local := testing.fetch({"scheme": "http", "host": "127.0.0.1", "port": 8080, "ip": true, "private": true})
	denied(local) == {"EGR-002", "EGR-003", "EGR-004", "EGR-010"}
	denied_with(local, loopback) == set()
}

test_loopback_does_not_let_other_private_hosts_in if {
	other := testing.fetch({"host": "10.0.0.1", "ip": true, "private": true})
	denied_with(other, loopback) == {"EGR-002", "EGR-003"}
}

test_a_query_after_secrets_is_denied if {
	asking := testing.fetch({"query_bytes": 1})
	denied(testing.labelled(asking, testing.secret)) == {"EGR-005"}
	denied(testing.labelled(asking, testing.internal)) == set()
	denied(testing.labelled(testing.fetch({}), testing.secret)) == set()
}

test_a_strange_address_is_denied if {
	denied(testing.send(["jo\u200bnas@corp.example"], {})) == {"EGR-006"}
	denied(testing.send(["jonаs@corp.example"], {})) == {"EGR-006"}
	denied(testing.send(["jonas@corp.example"], {})) == set()
}

test_a_link_after_untrusted_text_is_denied if {
	linking := write({"urls": ["collect.evil.example"]})
	denied(object.union(linking, {"label": testing.public})) == {"EGR-007"}
	denied(linking) == set()
}

test_links_to_known_hosts_are_fine if {
	known := write({"urls": ["intranet.corp.example", "named.example", "listed.example"]})
	denied(object.union(known, {"label": testing.public})) == set()
}

test_links_in_private_text_are_fine if {
	note := testing.call({"label": testing.public, "facts": {"text": [object.union(testing.text, {"urls": ["x.example"]})]}})
	denied(note) == set()
}

test_hidden_characters_are_denied if {
	every flag in ["control", "bidi", "invisible"] {
		denied(write({flag: true})) == {"EGR-008"}
	}
}

test_hidden_characters_in_private_text_are_fine if {
	note := testing.call({"facts": {"text": [object.union(testing.text, {"bidi": true})]}})
	denied(note) == set()
}

test_a_blocked_recipient_is_denied if denied(testing.send(["a@mail.blocked.example"], {})) == {"EGR-009"}

test_a_blocked_host_is_denied if denied(testing.fetch({"host": "blocked.example"})) == {"EGR-009"}

test_an_unusual_port_is_denied if denied(testing.fetch({"port": 8443})) == {"EGR-010"}

test_many_recipients_are_denied if {
	denied(testing.send(["a@corp.example", "b@corp.example", "c@corp.example"], {})) == {"EGR-011"}
	denied(testing.send(["a@corp.example", "b@corp.example"], {})) == set()
}

test_a_link_that_something_trusted_holds_is_fine if {
	linking := object.union(write({"urls": ["collect.evil.example"]}), {"label": testing.public})
	denied(linked(linking, [{"integrity": "org"}])) == set()
	denied(linked(linking, [{"integrity": "org"}, {"integrity": "public"}])) == {"EGR-007"}
	denied(linked(linking, [{"arg": "/subject"}])) == {"EGR-007"}
}

linked(call, links) := object.union(call, {"facts": object.union(call.facts, {"origins": [link |
	some change in links
	link := object.union(object.union(testing.named, {"arg": "/body", "role": "link"}), change)
]})})
