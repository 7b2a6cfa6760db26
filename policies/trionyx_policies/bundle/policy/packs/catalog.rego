# METADATA
# title: Catalog
# description: What is not classified in `data/catalog.json` is not called; what is, is allowed unless another rule objects.
# schemas:
#   - input: schema.input
package trionyx.policy.catalog

pack := "catalog"

entry := data.trionyx.catalog.servers[input.tool.catalog].tools[input.tool.name]

# METADATA
# title: The tool is not in the catalog
# custom:
#   id: CATALOG-001
#   severity: high
#   owner: security
#   remedy: Ask the security team to classify the tool in the policy's catalog.
deny contains {"id": "CATALOG-001"} if not entry

# METADATA
# title: An argument is not what the catalog says it is
# description: A URL, path, address, number or date that has no single strict reading.
# custom:
#   id: CATALOG-002
#   severity: high
#   owner: security
#   remedy: Pass a well-formed value of the type that the tool's argument has.
deny contains {"id": "CATALOG-002"} if count(input.facts.invalid) > 0

# METADATA
# title: The tool's effect differs from the catalog
# description: The proxy was started with another catalog than the one in force.
# custom:
#   id: CATALOG-003
#   severity: high
#   owner: security
#   remedy: Restart the proxy so that it reads the catalog in force.
deny contains {"id": "CATALOG-003"} if entry.effect != input.tool.effect

# METADATA
# title: The tool is in the catalog
# custom:
#   id: CATALOG-100
#   severity: info
#   owner: security
#   remedy: ""
allow contains {"id": "CATALOG-100"} if {
	input.point == "tool.call"
	entry.effect == input.tool.effect
}
