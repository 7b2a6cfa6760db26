# METADATA
# title: Provenance
# description: |
#   Asks of each argument what vouches for it, not whether it looks bad: the user's request, a trusted field of
#   an earlier result, or a person's endorsement. An argument that a misled model makes up has no such origin.
#   What each role needs for each effect is data (`provenance.requirements`).
# schemas:
#   - input: schema.input
package trionyx.policy.provenance

import data.trionyx.lib.destinations
import data.trionyx.lib.labels

pack := "provenance"

needs := data.trionyx.provenance.requirements[input.tool.effect]

# Roles that some argument fills without an origin that is trusted enough. One pass serves all rules.
lacking contains origin.role if {
	some origin in input.facts.origins
	not origin.handle
	not suffices(origin)
	not is_day_vouched(origin)
	not fetches_familiar(origin)
	not links_to_familiar(origin)
}

# INVARIANT: what the table does not say, or says in unknown words, does not suffice.
suffices(origin) if origin.role == "plain" # chooses nothing, and the host does not trace it

suffices(origin) if {
	labels.integrities[origin.integrity] <= labels.integrities[needs[origin.role]]
	not falls_short_once_tainted(origin)
}

# What would only be odd in a clean run may be somebody else's words in this one.
falls_short_once_tainted(origin) if {
	labels.tainted
	not input.tool.effect in {"read", "fetch"}
	has_more_needs(origin.role)
	not suffices_once_tainted(origin)
}

has_more_needs(role) if _ := data.trionyx.provenance.once_tainted[role]

suffices_once_tainted(origin) if {
	needed := data.trionyx.provenance.once_tainted[origin.role]
	labels.integrities[origin.integrity] <= labels.integrities[needed]
}

# A date may count by its day: whoever chose the hour chose little.
is_day_vouched(origin) if {
	origin.role == "when"
	data.trionyx.provenance.any_hour
	labels.integrities[origin.day] <= labels.integrities[needs.when]
}

described := {origin.arg | some origin in input.facts.origins}

# METADATA
# title: It is not known where an argument comes from
# description: |
#   The host gives an origin for every link and for every argument that the catalog describes as other than plain.
#   This notices when it does not; it cannot follow from anything that an agent does.
# custom:
#   id: PROV-001
#   severity: critical
#   owner: security
#   remedy: Tell the operator; until then only reading is possible.
deny contains {"id": "PROV-001"} if {
	input.tool.effect != "read"
	count(facts - described) > 0
}

deny contains {"id": "PROV-001"} if {
	input.tool.effect != "read"
	some name, value in input.args
	is_scalar(value)
	not is_described(name)
	not is_plain(["/", name])
}

deny contains {"id": "PROV-001"} if {
	input.tool.effect != "read"
	some name, list in input.args
	is_array(list)
	below := concat("", ["/", name, "/"])
	values := [value | some value in list; is_scalar(value)]
	count(values) > count([arg | some arg in described; startswith(arg, below)])
	not is_odd(name)
	not is_plain(["/", name, "/*"])
}

deny contains {"id": "PROV-001"} if {
	input.tool.effect != "read"
	not is_any_link_fine
	some text in input.facts.text
	links := [origin | some origin in input.facts.origins; origin.role == "link"; origin.arg == text.arg]
	count(text.urls) > count(links)
}

is_plain(parts) if arguments[concat("", parts)].role == "plain"

arguments := tool.args

tool := data.trionyx.catalog.servers[input.tool.catalog].tools[input.tool.name]

is_any_link_fine if needs.link == "public"

facts := {fact.arg |
	some list in [input.facts.paths, input.facts.recipients, input.facts.text, input.facts.urls]
	some fact in list
}

is_scalar(value) if is_string(value)

is_scalar(value) if is_number(value)

is_scalar(value) if is_boolean(value)

is_described(name) if concat("", ["/", name]) in described

is_described(name) if {
	is_odd(name)
	"/*" in described
}

# The host writes `*` for a member name that is not plain.
is_odd(name) if trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.$-") != ""

# METADATA
# title: Nothing trusted vouches for whom or what this call acts on
# custom:
#   id: PROV-002
#   severity: critical
#   owner: security
#   remedy: Use a target that the user's request names or that a trusted field of an earlier result holds, exactly as it stands there.
deny contains {"id": "PROV-002"} if {
	input.tool.effect != "fetch"
	"target" in lacking
}

# METADATA
# title: Nothing trusted vouches for the choice of what this call works on
# custom:
#   id: PROV-003
#   severity: high
#   owner: security
#   remedy: Select by a value that the user's request names or that a trusted field of an earlier result holds, exactly as it stands there.
deny contains {"id": "PROV-003"} if "selector" in lacking

# METADATA
# title: A secret that this call sets or sends is not the user's own word
# custom:
#   id: PROV-004
#   severity: critical
#   owner: security
#   remedy: Use a secret only as the user's request gives it.
deny contains {"id": "PROV-004"} if "secret" in lacking

# METADATA
# title: Nothing trusted enough vouches for the date or time
# custom:
#   id: PROV-005
#   severity: high
#   owner: security
#   remedy: Use a date and time that the user's request names.
deny contains {"id": "PROV-005"} if "when" in lacking

# METADATA
# title: Nothing trusted enough vouches for the amount
# custom:
#   id: PROV-006
#   severity: high
#   owner: security
#   remedy: Use an amount that the user's request names or that a trusted field of an earlier result holds.
deny contains {"id": "PROV-006"} if "amount" in lacking

# METADATA
# title: The title holds words that neither the user's request nor a trusted result has
# custom:
#   id: PROV-007
#   severity: medium
#   owner: security
#   remedy: Take the title from the words of the user's request.
deny contains {"id": "PROV-007"} if "title" in lacking

# METADATA
# title: The outgoing text holds a link that nothing trusted vouches for
# custom:
#   id: PROV-008
#   severity: high
#   owner: security
#   remedy: Leave the link out, or use one that the user's request or a trusted field of an earlier result holds.
deny contains {"id": "PROV-008"} if "link" in lacking

# METADATA
# title: Nothing trusted vouches for the web address, and its host is not a familiar one
# custom:
#   id: PROV-009
#   severity: high
#   owner: security
#   remedy: Fetch an address that the user's request names or a trusted result holds, or one without a query on a host that the request names.
deny contains {"id": "PROV-009"} if {
	input.tool.effect == "fetch"
	"target" in lacking
}

# METADATA
# title: Hidden text stands where a value must be known
# custom:
#   id: PROV-010
#   severity: high
#   owner: security
#   remedy: Name the value in the request, or use trionyx_extract to get a number, date or choice; a handle may stand for text only.
deny contains {"id": "PROV-010"} if {
	some origin in input.facts.origins
	origin.handle
	not suffices(origin)
}

# METADATA
# title: The run has read untrusted text, and what it chose to book or destroy is not named in the request
# custom:
#   id: PROV-011
#   severity: high
#   owner: security
#   remedy: Act on what the user's request names, or do this step in a run that has not read untrusted text.
deny contains {"id": "PROV-011"} if {
	labels.tainted
	input.tool.effect in data.trionyx.provenance.selection_effects
	some origin in input.facts.origins
	origin.role in {"target", "selector"}
	origin.integrity != "user"
	not is_invited(origin)
}

# Whom a booking reaches is a recipient like any other; what it books is the choice.
is_invited(origin) if {
	input.tool.effect == "book"
	origin.type == "email"
}

# METADATA
# title: The run has read untrusted text, and the user's request does not speak of such an act
# custom:
#   id: PROV-012
#   severity: medium
#   owner: security
#   remedy: Do what the user's request speaks of; a person can approve this call.
approve contains {"id": "PROV-012"} if {
	labels.tainted
	input.tool.effect in data.trionyx.provenance.control_flow_effects
	not is_implied
}

is_implied if input.tool.effect in input.prompt.implies

# METADATA
# title: Nothing trusted enough vouches for the words of a text
# custom:
#   id: PROV-013
#   severity: medium
#   owner: security
#   remedy: Use words of the user's request or of trusted fields of earlier results.
deny contains {"id": "PROV-013"} if "content" in lacking

# METADATA
# title: The run has read untrusted text, and nothing in this call comes from the request or from a trusted result
# description: Whatever nobody trusted spoke of was thought of by whoever wrote the text.
# custom:
#   id: PROV-014
#   severity: high
#   owner: security
#   remedy: Act on something that the user's request names or that a trusted result holds; a person can approve this call.
approve contains {"id": "PROV-014"} if {
	labels.tainted
	input.tool.effect in data.trionyx.provenance.anchored_effects
	not is_anchored
}

is_anchored if {
	some origin in input.facts.origins
	not origin.role in {"content", "link", "plain"}
	labels.integrities[origin.integrity] < labels.integrities.public
}

# METADATA
# title: The call passes on text that is not among its arguments, and it would read as the user's own words
# description: |
#   What a call does not hold can neither be looked at nor be recognised when it comes back. What the catalog says
#   of the tool in any other word than `false` means that it relays.
# custom:
#   id: PROV-015
#   severity: high
#   owner: security
#   remedy: Read the text and send it as content with the section's sending tool; a handle may stand for it.
deny contains {"id": "PROV-015"} if tool.relays != false

# METADATA
# title: Untrusted text of the result is shown as handles
# custom:
#   id: PROV-100
#   severity: info
#   owner: security
#   remedy: ""
oblige contains {"id": "PROV-100", "type": "hide_text", "pointer": "", "value": null} if {
	not shows_text
	input.tool.effect in data.trionyx.flow.hide_text_effects
}

shows_text if data.trionyx.flow.hide_text == false

shows_text if input.tool.name in data.trionyx.flow.hide_text_except[input.tool.catalog]

# A page without a query on a host that the request names, that is listed, or that is the organisation's: who
# chose the page cannot send anything along or lead elsewhere.
fetches_familiar(origin) if {
	input.tool.effect == "fetch"
	origin.role == "target"
	data.trionyx.provenance.same_origin.fetch
	origin.arg in {url.arg | some url in input.facts.urls}
	every url in input.facts.urls {
		is_familiar(url, origin.arg)
	}
}

is_familiar(url, arg) if url.arg != arg

is_familiar(url, _) if {
	url.query_bytes == 0
	not url.userinfo
	destinations.allowed_host(url.host)
}

links_to_familiar(origin) if {
	origin.role == "link"
	data.trionyx.provenance.same_origin.links
	some text in input.facts.text
	text.arg == origin.arg
	every host in text.urls {
		destinations.allowed_host(host)
	}
}
