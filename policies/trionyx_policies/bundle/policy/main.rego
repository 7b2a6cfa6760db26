# METADATA
# title: Collection of the packs' contributions
# description: |
#   Gathers what every pack contributes into one closed answer. There is no effect in it: the host
#   computes the effect (deny overrides, nothing is allowed by default). Policy teams write packs and
#   never edit this file.
# schemas:
#   - input: schema.input
package trionyx.main

# METADATA
# title: The answer to one call
# entrypoint: true
decision := {
	"schema": "trionyx.decision/v1",
	"deny": [entry | some name; some entry in entries(name, data.trionyx.policy[name].deny)],
	"approve": [entry | some name; some entry in entries(name, data.trionyx.policy[name].approve)],
	"allow": [entry | some name; some entry in entries(name, data.trionyx.policy[name].allow)],
	"oblige": [entry | some name; some entry in entries(name, data.trionyx.policy[name].oblige)],
	"label": [entry | some name; some entry in entries(name, data.trionyx.policy[name].label)],
	"packs": packs,
}

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
