# METADATA
# title: Who and what is on the other side of a call
# description: Helpers over recipients and hosts; the facts come parsed and lower-cased from the host.
# schemas:
#   - input: schema.input
package trionyx.lib.destinations

within(name, domain) if name == domain

within(name, domain) if endswith(name, concat("", [".", domain]))

ours(name) if {
	some domain in data.trionyx.egress.organisation
	within(name, domain)
}

allowed_host(host) if ours(host)

allowed_host(host) if host in input.prompt.hosts

allowed_host(host) if {
	some domain in data.trionyx.egress.hosts
	within(host, domain)
}

blocked(name) if {
	some domain in data.trionyx.egress.blocked
	within(name, domain)
}

# The clearance of a domain or host: that of the longest listed suffix, else the default.
domain_clearance(name) := longest(name, data.trionyx.clearances.domains)

host_clearance(host) := longest(host, object.union(
	data.trionyx.clearances.domains,
	data.trionyx.clearances.hosts,
))

recipient_clearance(recipient) := clearance if {
	clearance := data.trionyx.clearances.addresses[recipient.address]
}

recipient_clearance(recipient) := domain_clearance(recipient.domain) if {
	not data.trionyx.clearances.addresses[recipient.address]
}

longest(name, table) := label if {
	some suffix, label in table
	within(name, suffix)
	not longer(name, table, suffix)
}

longest(name, table) := data.trionyx.clearances["default"] if not listed(name, table)

longer(name, table, suffix) if {
	some other, _ in table
	within(name, other)
	count(other) > count(suffix)
}

listed(name, table) if {
	some suffix, _ in table
	within(name, suffix)
}
