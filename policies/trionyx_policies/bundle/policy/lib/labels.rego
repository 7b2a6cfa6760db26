# METADATA
# title: The label lattice, as ranks
# description: Helpers over `input.label`; a higher rank is more restrictive.
# schemas:
#   - input: schema.input
package trionyx.lib.labels

levels := {"public": 0, "internal": 1, "secret": 2}

integrities := {"user": 0, "system": 1, "org": 2, "public": 3}

tainted if input.label.integrity == "public"

secret if input.label.level == "secret"

restricted if input.label.readers != "*"

level_exceeds(label) if levels[input.label.level] > levels[label.level]

integrity_exceeds(label) if integrities[input.label.integrity] > integrities[label.integrity]
