# METADATA
# title: Collection of the packs' contributions
# description: |
#   Gathers what every pack contributes into one closed answer, and honours the switches of
#   `data/rules.json`. There is no effect in it: the host computes the effect (deny overrides, nothing is
#   allowed by default). Policy teams write packs and never edit this file.
# schemas:
#   - input: schema.input
package trionyx.main

# METADATA
# title: The answer to one call
# entrypoint: true
decision := {
	"schema": "trionyx.decision/v1",
	"deny": array.concat(
		[entry | some entry in denials; not spared(entry)],
		[entry | some entry in requests; not asking(entry)],
	),
	"approve": array.concat(
		[entry | some entry in denials; is_switched(entry, "ask")],
		[entry | some entry in requests; asking(entry); not is_switched(entry, "off")],
	),
	"allow": [entry | some name; some entry in entries(name, data.trionyx.policy[name].allow)],
	"oblige": [entry | some name; some entry in entries(name, data.trionyx.policy[name].oblige)],
	"label": [entry | some name; some entry in entries(name, data.trionyx.policy[name].label)],
	"packs": packs,
}

denials := [entry | some name; some entry in entries(name, data.trionyx.policy[name].deny)]

requests := [entry | some name; some entry in entries(name, data.trionyx.policy[name].approve)]

# INVARIANT: what has no switch, or one with an unknown position, keeps its force: a denial denies unless it
# is switched to `ask` or `off`; a request for approval denies if its switch says anything else than those.
spared(entry) if data.trionyx.rules[entry.id] in {"ask", "off"}

asking(entry) if spared(entry)

asking(entry) if not has_switch(entry)

has_switch(entry) if _ := data.trionyx.rules[entry.id]

# A predicate of its own: within `not`, OPA evaluates what may be undefined outside, and the whole is undefined.
is_switched(entry, position) if data.trionyx.rules[entry.id] == position

# A pack is in force when it names itself; the host compares this list with the manifest, so that
# a dropped, renamed or shadowed pack is noticed in the answer to every single call.
packs contains name if {
	some name
	data.trionyx.policy[name].pack == name
}

entries(name, value) := {stamped(name, entry) | some entry in value} if is_set(value)

# INVARIANT: a contribution of the wrong shape reaches the host as an entry without an id, which the
# host refuses. Iterating it here instead would lose it in silence.
entries(name, value) := {{"pack": name}} if not is_set(value)

# A pack that stamps itself with another name than its own is a conflict, hence an error, hence a denial.
stamped(name, entry) := {key: value |
	some source in [{"pack": name}, entry]
	some key, value in source
}
