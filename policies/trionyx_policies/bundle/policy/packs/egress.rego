# METADATA
# title: Egress
# description: The shape of what leaves, namely web addresses, recipients, and text that a person will read.
# schemas:
#   - input: schema.input
package trionyx.policy.egress

import data.trionyx.lib.destinations
import data.trionyx.lib.labels
import data.trionyx.lib.origins

pack := "egress"

outward := {"egress", "fetch"}

# METADATA
# title: The web address carries a user name or password
# custom:
#   id: EGR-001
#   severity: high
#   owner: security
#   remedy: Leave out everything before the @ in the web address.
deny contains {"id": "EGR-001"} if {
	some url in input.facts.urls
	url.userinfo
}

# METADATA
# title: The web address names a machine by number
# custom:
#   id: EGR-002
#   severity: high
#   owner: security
#   remedy: Use the host's name.
deny contains {"id": "EGR-002"} if {
	some url in input.facts.urls
	url.ip
	not loopback_allowed(url)
}

# METADATA
# title: The web address leads into a private network
# custom:
#   id: EGR-003
#   severity: high
#   owner: security
#   remedy: Use a public web address.
deny contains {"id": "EGR-003"} if {
	some url in input.facts.urls
	url.private
	not loopback_allowed(url)
}

# METADATA
# title: The web address is not https
# custom:
#   id: EGR-004
#   severity: medium
#   owner: security
#   remedy: Use an https address.
deny contains {"id": "EGR-004"} if {
	some url in input.facts.urls
	not url.scheme in {"https", ""} # a bare host has none
	not loopback_allowed(url)
}

# METADATA
# title: The run has read secrets, and the web address carries a query
# custom:
#   id: EGR-005
#   severity: high
#   owner: security
#   remedy: Fetch an address without a query, or fetch it in a run that has not read secrets.
deny contains {"id": "EGR-005"} if {
	labels.secret
	some url in input.facts.urls
	url.query_bytes > 0
}

# METADATA
# title: A recipient's address holds invisible or look-alike characters
# custom:
#   id: EGR-006
#   severity: high
#   owner: security
#   remedy: Write the address in plain letters, digits and the usual punctuation.
deny contains {"id": "EGR-006"} if {
	some recipient in input.facts.recipients
	trim(recipient.address, data.trionyx.egress.address_characters) != ""
}

# METADATA
# title: The run has read untrusted text, and the outgoing text links to a host that is neither listed nor named by anything trusted
# custom:
#   id: EGR-007
#   severity: high
#   owner: security
#   remedy: Leave the link out, or link to hosts of the organisation or hosts that the user's request names.
deny contains {"id": "EGR-007"} if {
	labels.tainted
	input.tool.effect == "egress"
	some text in input.facts.text
	some host in text.urls
	not destinations.allowed_host(host)
	not origins.are_links_vouched(text)
}

# METADATA
# title: The outgoing text holds characters that a reader cannot see
# custom:
#   id: EGR-008
#   severity: medium
#   owner: security
#   remedy: Remove control, direction and zero-width characters from the text.
deny contains {"id": "EGR-008"} if {
	input.tool.effect in outward
	some text in input.facts.text
	some flag in [text.control, text.bidi, text.invisible]
	flag
}

# METADATA
# title: The destination is blocked
# custom:
#   id: EGR-009
#   severity: high
#   owner: security
#   remedy: ""
deny contains {"id": "EGR-009"} if {
	some recipient in input.facts.recipients
	destinations.blocked(recipient.domain)
}

deny contains {"id": "EGR-009"} if {
	some url in input.facts.urls
	destinations.blocked(url.host)
}

# METADATA
# title: The web address uses an unusual port
# custom:
#   id: EGR-010
#   severity: medium
#   owner: security
#   remedy: Use the usual port.
deny contains {"id": "EGR-010"} if {
	some url in input.facts.urls
	url.scheme != ""
	not url.port in data.trionyx.egress.ports
	not loopback_allowed(url)
}

# METADATA
# title: Too many recipients
# custom:
#   id: EGR-011
#   severity: medium
#   owner: security
#   remedy: Send to fewer recipients at a time.
deny contains {"id": "EGR-011"} if count(input.facts.recipients) > data.trionyx.egress.max_recipients

loopback_allowed(url) if {
	data.trionyx.egress.allow_loopback
	url.host in {"localhost", "127.0.0.1", "::1", "[::1]"}
}
