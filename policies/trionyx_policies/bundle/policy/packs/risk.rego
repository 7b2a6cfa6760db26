# METADATA
# title: Risk
# description: |
#   What the run has read, how private it is, and what it can do, looked up in a table of 27 cells. From a
#   threshold on the run is over: every call is denied, reading included.
# schemas:
#   - input: schema.input
package trionyx.policy.risk

pack := "risk"

ranks := {"low": 0, "moderate": 1, "high": 2, "critical": 3}

powers := {"low": 0, "medium": 1, "high": 2}

# METADATA
# title: The run's risk has reached the limit, and the run is over
# custom:
#   id: RISK-001
#   severity: critical
#   owner: security
#   remedy: Start a new run for what is left to do, and read there either untrusted text or secrets, not both.
deny contains {"id": "RISK-001"} if {
	data.trionyx.risk.kill_at != "never"
	not is_below
}

# INVARIANT: a risk or a threshold that the tables do not have is not below.
is_below if ranks[level] < ranks[data.trionyx.risk.kill_at]

level := data.trionyx.risk.table[taint][sensitivity][capability]

taint := data.trionyx.risk.taint[input.label.integrity]

sensitivity := data.trionyx.risk.sensitivity[input.label.level]

# An agent's capability is what its tools can do; where it is not declared, the most that this run has done or is
# about to do.
capability := declared

capability := name if {
	not declared
	highest := max({power | some effect in effects; power := powers[data.trionyx.risk.capability[effect]]})
	some name, rank in powers
	rank == highest
}

declared := data.trionyx.risk.agents[input.run.agent]

effects contains input.tool.effect

effects contains effect if {
	some effect, times in input.run.by_effect
	times > 0
}
