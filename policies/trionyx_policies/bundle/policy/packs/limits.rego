# METADATA
# title: Limits
# description: How much a run may do before somebody looks.
# schemas:
#   - input: schema.input
package trionyx.policy.limits

pack := "limits"

# METADATA
# title: The run has used up its calls
# custom:
#   id: LIM-001
#   severity: medium
#   owner: platform
#   remedy: Start a new run.
deny contains {"id": "LIM-001"} if input.run.calls >= data.trionyx.limits.max_calls

# METADATA
# title: The same call was made too often
# custom:
#   id: LIM-002
#   severity: medium
#   owner: platform
#   remedy: Use the answer of the earlier call, or change the arguments.
deny contains {"id": "LIM-002"} if input.run.same_call >= data.trionyx.limits.max_same_call

# METADATA
# title: The run has used up its calls of this effect
# custom:
#   id: LIM-003
#   severity: medium
#   owner: platform
#   remedy: Start a new run for what is left to do.
deny contains {"id": "LIM-003"} if {
	input.run.by_effect[input.tool.effect] >= data.trionyx.limits.max_by_effect[input.tool.effect]
}

# METADATA
# title: Too many calls of this run were denied
# custom:
#   id: LIM-004
#   severity: high
#   owner: security
#   remedy: Start a new run; repeated denials are looked into.
deny contains {"id": "LIM-004"} if input.run.denied >= data.trionyx.limits.max_denied

# METADATA
# title: Too many calls at once
# custom:
#   id: LIM-005
#   severity: low
#   owner: platform
#   remedy: Wait for a call to end before making the next.
deny contains {"id": "LIM-005"} if input.run.in_flight >= data.trionyx.limits.max_in_flight

# METADATA
# title: Results of this effect are limited in size
# custom:
#   id: LIM-010
#   severity: info
#   owner: platform
#   remedy: ""
oblige contains {
	"id": "LIM-010",
	"type": "max_result_bytes",
	"pointer": "",
	"value": data.trionyx.limits.max_result_bytes[input.tool.effect],
}
