# METADATA
# title: Classic models
# description: |
#   Rules that look at the run as a whole and at no argument. They stop more honest work than provenance does and
#   are switched off in the shipped data; each has its own switch in `rules`.
# schemas:
#   - input: schema.input
package trionyx.policy.classics

import data.trionyx.lib.labels
import data.trionyx.lib.places

pack := "classics"

# Effects that reach people, hosts or accounts beyond this machine.
outward := {"egress", "fetch", "money", "book", "authz"}

is_private if labels.levels[input.label.level] > labels.levels.public

# METADATA
# title: The run has read untrusted text and private data, and this call reaches outside
# description: The lethal trifecta.
# custom:
#   id: TRIFECTA-001
#   severity: critical
#   owner: security
#   remedy: Do this step in a new run that reads either untrusted text or private data, not both.
deny contains {"id": "TRIFECTA-001"} if {
	labels.tainted
	is_private
	input.tool.effect in outward
}

# METADATA
# title: The run has read untrusted text and private data, and this call changes something or reaches outside
# description: The rule of two, of untrusted input, private data and acting, a run has at most two.
# custom:
#   id: RULETWO-001
#   severity: high
#   owner: security
#   remedy: Do this step in a new run that reads either untrusted text or private data, not both.
deny contains {"id": "RULETWO-001"} if {
	labels.tainted
	is_private
	input.tool.effect != "read"
}

# METADATA
# title: The run has read untrusted text and may only read from then on
# description: Strict integrity after Biba, also known as session taint.
# custom:
#   id: BIBA-001
#   severity: high
#   owner: security
#   remedy: Do this step in a new run that has not read untrusted text.
deny contains {"id": "BIBA-001"} if {
	labels.tainted
	input.tool.effect != "read"
}

# METADATA
# title: The tool gives text of lower integrity than this agent may read
# description: No read down, after Biba.
# custom:
#   id: BIBA-002
#   severity: high
#   owner: security
#   remedy: Use tools that return data of the integrity that this agent may read.
deny contains {"id": "BIBA-002"} if {
	some label in read
	labels.integrities[label.integrity] > labels.integrities[reader.integrity]
}

# METADATA
# title: The run has read data above the level of what this call writes to
# description: No write down, after Bell and LaPadula, with one level for each effect.
# custom:
#   id: BLP-001
#   severity: high
#   owner: security
#   remedy: Do this step in a run that has read data of this level or below only.
deny contains {"id": "BLP-001"} if not writes_up

writes_up if labels.levels[input.label.level] <= labels.levels[data.trionyx.classics.sink_levels[input.tool.effect]]

# METADATA
# title: The tool gives data above the level that this agent may read
# description: No read up, after Bell and LaPadula.
# custom:
#   id: BLP-002
#   severity: high
#   owner: security
#   remedy: Use tools and places whose data this agent may read.
deny contains {"id": "BLP-002"} if {
	some label in read
	labels.levels[label.level] > labels.levels[reader.level]
}

reader := object.get(
	data.trionyx.classics.readers.agents,
	input.run.agent,
	data.trionyx.classics.readers["default"],
)

# What the call gives to read, as the catalog and the zones label it.
read contains data.trionyx.catalog.servers[input.tool.catalog].tools[input.tool.name].result

read contains zone.label if {
	some path in input.facts.paths
	some zone in data.trionyx.paths[input.tool.catalog].zones
	places.touches(path.path, zone.prefix)
}
