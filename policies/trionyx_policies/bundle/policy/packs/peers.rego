# METADATA
# title: Runs that talk
# description: |
#   Who may send to whom, and at which label. Both sides must list each other in `data.trionyx.peers`; a message carries
#   the label of the run that sends it, and the receiver must be cleared for that. The host asks the same again when a
#   message is received, and labels it whatever is written here.
# schemas:
#   - input: schema.input
package trionyx.policy.peers

import data.trionyx.lib.labels

pack := "peers"

peer := input.facts.peer

is_own if input.tool.catalog == "trionyx"

speaks if {
	is_own
	input.tool.name in {"trionyx_send", "trionyx_ask"}
}

answers if {
	is_own
	input.tool.name == "trionyx_answer"
}

# METADATA
# title: Messages between these agents are not allowed by both sides
# custom:
#   id: PEERS-001
#   severity: high
#   owner: security
#   remedy: Send to an agent that this one may send to and that may receive from it.
deny contains {"id": "PEERS-001"} if {
	speaks
	not is_permitted
}

is_permitted if reports

is_permitted if listed(input.run.agent, peer.agent)

# Whoever minted a child run meant it to report; it may not ask.
reports if {
	input.tool.name == "trionyx_send"
	peer.relation == "parent"
}

listed(sender, receiver) if {
	sender != receiver
	receiver in data.trionyx.peers[sender].send_to
	sender in data.trionyx.peers[receiver].receive_from
}

# METADATA
# title: What the run has read is less trusted than the receiver may read
# description: No read down, after Biba.
# custom:
#   id: PEERS-002
#   severity: high
#   owner: security
#   remedy: Send from a run that has not read untrusted text, or let the receiver ask typed questions.
deny contains {"id": "PEERS-002"} if {
	speaks
	is_permitted
	not is_trusted_enough
}

is_trusted_enough if labels.integrities[input.label.integrity] <= labels.integrities[clearance.integrity]

clearance := data.trionyx.peers[peer.agent].clearance

# METADATA
# title: The receiver is not cleared for what the run has read
# description: No write down, after Bell and LaPadula, with readers and categories.
# custom:
#   id: PEERS-003
#   severity: critical
#   owner: security
#   remedy: Send to an agent that is cleared for such data, or from a run that has not read it.
deny contains {"id": "PEERS-003"} if {
	talks
	not is_cleared
}

# What is not permitted anyway tells nothing about clearances.
talks if {
	speaks
	is_permitted
}

talks if {
	answers
	is_asked
}

is_cleared if {
	labels.levels[input.label.level] <= labels.levels[clearance.level]
	are_readers_within
	are_categories_within
}

are_readers_within if input.label.readers == "*"

are_readers_within if {
	is_array(clearance.readers)
	every reader in clearance.readers {
		reader in input.label.readers
	}
}

are_categories_within if clearance.categories == "*"

are_categories_within if {
	is_array(input.label.categories)
	every category in input.label.categories {
		category in clearance.categories
	}
}

# METADATA
# title: There is no such question for this run to answer
# custom:
#   id: PEERS-004
#   severity: medium
#   owner: security
#   remedy: Answer a question that was received, once.
deny contains {"id": "PEERS-004"} if {
	answers
	not is_asked
}

is_asked if {
	peer.relation == "asker"
	listed(peer.agent, input.run.agent)
}

# METADATA
# title: This agent may not ask that one questions of this kind
# custom:
#   id: PEERS-005
#   severity: medium
#   owner: security
#   remedy: Ask questions of a kind that the policy gives a rate for.
deny contains {"id": "PEERS-005"} if {
	is_own
	input.tool.name == "trionyx_ask"
	is_permitted
	not is_rated
}

categories := {"bool": "cat1", "enum": "cat1", "integer": "cat1", "text": "cat2", "summary": "cat3"}

is_rated if {
	every question in input.args.questions {
		data.trionyx.peers[input.run.agent].asks[peer.agent][categories[question.type]] > 0
	}
}

# METADATA
# title: A summary in free words is asked for
# custom:
#   id: PEERS-020
#   severity: medium
#   owner: security
#   remedy: Ask typed questions, or let a person approve this call.
approve contains {"id": "PEERS-020"} if {
	is_own
	input.tool.name == "trionyx_ask"
	some question in input.args.questions
	question.type == "summary"
}

# METADATA
# title: The question asks for more bits than are left in the budget
# description: |
#   The host counts the bits of all questions, for the run and for the two agents within a day, and lets a question
#   exceed them only if a person approved it.
# custom:
#   id: PEERS-021
#   severity: medium
#   owner: security
#   remedy: Ask for less, later or in another run, or let a person approve this call.
approve contains {"id": "PEERS-021"} if {
	is_own
	input.tool.name == "trionyx_ask"
	not peer.is_beyond_budget == false
}
