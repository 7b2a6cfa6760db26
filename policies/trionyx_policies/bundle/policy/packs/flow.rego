# METADATA
# title: Information flow
# description: |
#   What a run that has seen secrets or untrusted text may still do. The host enforces that the run's
#   label flows to the clearance of the sink whatever is written here; this pack adds what a lattice
#   cannot say (destinations that something trusted names) and tells the agent what would be allowed.
# schemas:
#   - input: schema.input
package trionyx.policy.flow

import data.trionyx.lib.destinations
import data.trionyx.lib.labels
import data.trionyx.lib.origins
import data.trionyx.lib.places

pack := "flow"

# Effects that reach the people whom the call names; a read that selects by an address reaches nobody.
reaching := {"egress", "fetch", "money", "book", "authz"}

# METADATA
# title: The run has read untrusted text, and this effect must not follow from it
# custom:
#   id: FLOW-001
#   severity: critical
#   owner: security
#   remedy: Start a new run for this step, with the target named in the request.
deny contains {"id": "FLOW-001"} if {
	labels.tainted
	input.tool.effect in data.trionyx.flow.untainted_effects
}

# METADATA
# title: The run has read untrusted text, and a recipient is outside the organisation and named by nothing trusted
# custom:
#   id: FLOW-002
#   severity: critical
#   owner: security
#   remedy: Send to addresses of the organisation, or to addresses that the user's request or a trusted result names.
deny contains {"id": "FLOW-002"} if {
	labels.tainted
	input.tool.effect == "egress"
	some recipient in input.facts.recipients
	not destinations.ours(recipient.domain)
	not recipient.address in input.prompt.emails
	not origins.is_vouched(recipient.arg)
}

# METADATA
# title: A recipient is not cleared for what the run has read
# custom:
#   id: FLOW-003
#   severity: critical
#   owner: security
#   remedy: Send to recipients that are cleared for this level, or use a run that has not read such data.
deny contains {"id": "FLOW-003"} if {
	input.tool.effect in reaching
	some recipient in input.facts.recipients
	labels.level_exceeds(destinations.recipient_clearance(recipient))
}

# METADATA
# title: A web host is not cleared for what the run has read
# custom:
#   id: FLOW-004
#   severity: critical
#   owner: security
#   remedy: Fetch from hosts that are cleared for this level, or fetch in a run that has not read such data.
deny contains {"id": "FLOW-004"} if {
	some url in input.facts.urls
	labels.level_exceeds(destinations.host_clearance(url.host))
}

# METADATA
# title: Others rely on this place, and the run has read data that must not be written there
# custom:
#   id: FLOW-005
#   severity: high
#   owner: security
#   remedy: Write to a private place, or write there from a run that has read neither secrets nor untrusted text.
deny contains {"id": "FLOW-005"} if {
	not input.tool.effect in {"read", "fetch"}
	some path in input.facts.paths
	some zone in data.trionyx.paths[input.tool.catalog].zones
	places.touches(path.path, zone.prefix)
	exceeds(zone.write)
}

# METADATA
# title: The run has read untrusted text and private data, and the web address is neither on a listed host nor named by anything trusted
# custom:
#   id: FLOW-006
#   severity: critical
#   owner: security
#   remedy: Fetch from listed hosts, from hosts that the user's request names, or an address that a trusted result holds.
deny contains {"id": "FLOW-006"} if {
	labels.tainted
	input.label.level != "public"
	some url in input.facts.urls
	not destinations.allowed_host(url.host)
	not origins.is_vouched(url.arg)
}

# METADATA
# title: A recipient is not among the readers of what the run has read
# custom:
#   id: FLOW-007
#   severity: critical
#   owner: security
#   remedy: Send only to people who may read the data that this run has read.
deny contains {"id": "FLOW-007"} if {
	input.tool.effect in reaching
	labels.restricted
	some recipient in input.facts.recipients
	not recipient.address in input.label.readers
}

# METADATA
# title: The effect needs a human's approval
# custom:
#   id: FLOW-020
#   severity: medium
#   owner: security
#   remedy: A person can approve this call.
approve contains {"id": "FLOW-020"} if input.tool.effect in data.trionyx.flow.approval_effects

exceeds(clearance) if labels.level_exceeds(clearance)

exceeds(clearance) if labels.integrity_exceeds(clearance)
