# METADATA
# title: Paths
# description: Where in a file tree a tool may reach, and what the places it reads are worth protecting.
# schemas:
#   - input: schema.input
package trionyx.policy.paths

import data.trionyx.lib.places

pack := "paths"

area := data.trionyx.paths[input.tool.catalog]

# METADATA
# title: The path is outside the tree that this tool may reach
# custom:
#   id: PATH-001
#   severity: high
#   owner: security
#   remedy: Use a path below one of the tool's roots.
deny contains {"id": "PATH-001"} if {
	some path in input.facts.paths
	not path.inside
}

deny contains {"id": "PATH-001"} if {
	some path in input.facts.paths
	not rooted(path.path)
}

# METADATA
# title: The path names a hidden file or directory
# custom:
#   id: PATH-002
#   severity: medium
#   owner: security
#   remedy: Use a path without components that begin with a dot.
deny contains {"id": "PATH-002"} if {
	some path in input.facts.paths
	path.hidden
}

# METADATA
# title: The path holds control characters
# custom:
#   id: PATH-003
#   severity: high
#   owner: security
#   remedy: Use a path of printable characters.
deny contains {"id": "PATH-003"} if {
	some path in input.facts.paths
	path.control
}

# METADATA
# title: What is read from this place carries the place's label
# custom:
#   id: PATH-100
#   severity: info
#   owner: security
#   remedy: ""
label contains {"id": "PATH-100", "label": zone.label} if {
	some path in input.facts.paths
	some zone in area.zones
	places.touches(path.path, zone.prefix)
}

rooted(path) if {
	some root in area.roots
	places.below(path, root)
}
