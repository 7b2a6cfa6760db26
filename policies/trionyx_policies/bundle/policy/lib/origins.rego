# METADATA
# title: Where the arguments come from
# description: |
#   Helpers over `input.facts.origins`, which the host computes: for each argument the integrity of the best
#   trusted source that vouches for its whole value, `public` if there is none.
# schemas:
#   - input: schema.input
package trionyx.lib.origins

import data.trionyx.lib.labels

# INVARIANT: an argument without an origin is not vouched for.
is_vouched(arg) if {
	some origin in input.facts.origins
	origin.arg == arg
	origin.role != "link"
	not arg in doubtful
}

doubtful contains origin.arg if {
	some origin in input.facts.origins
	origin.role != "link"
	not is_trusted(origin)
}

# Every link of a text is vouched for, and there are as many as the text has hosts.
are_links_vouched(text) if {
	links := [origin | some origin in input.facts.origins; origin.role == "link"; origin.arg == text.arg]
	count(links) >= count(text.urls)
	every link in links {
		is_trusted(link)
	}
}

is_trusted(origin) if {
	not origin.handle
	labels.integrities[origin.integrity] < labels.integrities.public
}
