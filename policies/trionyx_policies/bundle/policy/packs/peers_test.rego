package trionyx.policy.peers_test

import data.trionyx.policy.peers
import data.trionyx.testing

anything := {"categories": "*", "integrity": "public", "level": "secret", "readers": []}

agents := {
	"boss": {
		"send_to": ["clerk", "deaf", "boss", "gone"],
		"receive_from": ["clerk", "boss"],
		"clearance": anything,
		"asks": {"clerk": {"cat1": 5, "cat3": 1}},
	},
	"clerk": {
		"send_to": ["boss"],
		"receive_from": ["boss"],
		"clearance": {"categories": ["pii"], "integrity": "org", "level": "internal", "readers": ["emma"]},
	},
	"deaf": {"send_to": ["clerk"], "receive_from": [], "clearance": anything},
}

org := {"categories": [], "integrity": "org", "level": "public", "readers": "*"}

talk(name, agent, to, label, args) := object.union(
	testing.call({
		"tool": {"id": name, "server": "trionyx", "catalog": "trionyx", "name": name, "effect": "local"},
		"run": {"agent": agent},
		"facts": {"peer": to},
		"args": args,
	}),
	{"label": label},
)

denied(call) := ids if {
	ids := {entry.id | some entry in peers.deny} with input as call with data.trionyx.peers as agents
}

asked(call) := ids if {
	ids := {entry.id | some entry in peers.approve} with input as call with data.trionyx.peers as agents
}

peer(agent) := {"agent": agent, "is_beyond_budget": false, "relation": "peer"}

send(agent, to, label) := denied(talk("trionyx_send", agent, peer(to), label, {"to": to}))

ask(agent, to, types) := talk("trionyx_ask", agent, peer(to), org, {"questions": [{"type": type} | some type in types]})

answer(agent, relation, label) := denied(talk(
	"trionyx_answer",
	agent,
	{"agent": "boss", "is_beyond_budget": false, "relation": relation},
	label,
	{},
))

changed(label) := object.union(org, label)

test_both_sides_allow if send("boss", "clerk", org) == set()

test_both_sides_allow_the_other_way if send("clerk", "boss", org) == set()

test_the_receiver_does_not_allow if send("boss", "deaf", org) == {"PEERS-001"}

test_the_sender_does_not_allow if send("deaf", "boss", org) == {"PEERS-001"}

test_nobody_sends_to_itself if "PEERS-001" in send("boss", "boss", org)

test_an_unknown_agent_may_nothing if send("nobody", "boss", org) == {"PEERS-001"}

# Whether there is an agent, and what it is cleared for, is not told to those who may not send to it.
test_nobody_may_send_to_an_unknown_agent if send("boss", "gone", org) == {"PEERS-001"}

test_a_clearance_is_not_told_to_others if send("deaf", "clerk", changed({"level": "secret"})) == {"PEERS-001"}

test_other_tools_are_not_concerned if denied(testing.call({})) == set()

test_a_child_reports if {
	denied(talk("trionyx_send", "boss", {"agent": "boss", "is_beyond_budget": false, "relation": "parent"}, org, {})) == set()
}

test_a_child_does_not_ask_its_parent if {
	"PEERS-001" in denied(talk("trionyx_ask", "boss", {"agent": "boss", "is_beyond_budget": false, "relation": "parent"}, org, {"questions": []}))
}

test_untrusted_text_needs_clearance if send("boss", "clerk", changed({"integrity": "public"})) == {"PEERS-002"}

test_untrusted_text_is_received_by_the_cleared if send("clerk", "boss", changed({"integrity": "public"})) == set()

test_a_level_needs_clearance if send("boss", "clerk", changed({"level": "secret"})) == {"PEERS-003"}

test_a_level_below_the_clearance_is_fine if send("boss", "clerk", changed({"level": "internal"})) == set()

test_a_category_needs_clearance if send("boss", "clerk", changed({"categories": ["fin"]})) == {"PEERS-003"}

test_a_cleared_category_is_fine if send("boss", "clerk", changed({"categories": ["pii"]})) == set()

test_all_categories_need_clearance if send("boss", "clerk", changed({"categories": "*"})) == {"PEERS-003"}

test_readers_need_clearance if send("boss", "clerk", changed({"readers": ["jonas"]})) == {"PEERS-003"}

test_cleared_readers_are_fine if send("boss", "clerk", changed({"readers": ["emma", "jonas"]})) == set()

test_an_answer_to_a_question_is_fine if answer("clerk", "asker", org) == set()

test_an_answer_in_types_may_follow_from_untrusted_text if {
	answer("clerk", "asker", changed({"integrity": "public"})) == set()
}

test_no_question_no_answer if "PEERS-004" in answer("clerk", "none", org)

test_who_may_not_be_asked_does_not_answer if answer("deaf", "asker", org) == {"PEERS-004"}

test_an_answer_needs_clearance if {
	"PEERS-003" in denied(talk(
		"trionyx_answer",
		"boss",
		{"agent": "clerk", "is_beyond_budget": false, "relation": "asker"},
		changed({"level": "secret"}),
		{},
	))
}

test_a_rated_question_is_fine if denied(ask("boss", "clerk", ["bool", "integer"])) == set()

test_a_question_without_a_rate_is_not if denied(ask("boss", "clerk", ["bool", "text"])) == {"PEERS-005"}

test_who_has_no_rates_asks_nothing if denied(ask("clerk", "boss", ["bool"])) == {"PEERS-005"}

test_a_question_of_an_unknown_type_is_not if denied(ask("boss", "clerk", ["essay"])) == {"PEERS-005"}

test_a_summary_needs_a_person if asked(ask("boss", "clerk", ["summary"])) == {"PEERS-020"}

test_typed_questions_need_nobody if asked(ask("boss", "clerk", ["bool"])) == set()

test_bits_beyond_the_budget_need_a_person if {
	asked(talk(
		"trionyx_ask",
		"boss",
		{"agent": "clerk", "is_beyond_budget": true, "relation": "peer"},
		org,
		{"questions": [{"type": "bool"}]},
	)) == {"PEERS-021"}
}

test_uncounted_bits_need_a_person if {
	asked(talk("trionyx_ask", "boss", {"agent": "clerk", "relation": "peer"}, org, {"questions": []})) == {"PEERS-021"}
}

test_a_message_has_no_budget if {
	asked(talk("trionyx_send", "boss", {"agent": "clerk", "is_beyond_budget": true, "relation": "peer"}, org, {})) == set()
}
