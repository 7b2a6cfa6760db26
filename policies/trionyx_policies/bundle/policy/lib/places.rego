# METADATA
# title: Places in a file tree
# description: Helpers over canonical absolute POSIX paths; the host has resolved dots and doubled slashes.
package trionyx.lib.places

# Whether a path is, on any file system, at or below a prefix: file systems may ignore case, and fold letters
# beyond ASCII into plain ones. Matching too much only adds labels and denials.
touches(path, prefix) if below(lower(path), lower(prefix))

touches(path, prefix) if not plain(head(path, prefix))

# A tool that is given a directory may act on everything below it.
touches(path, prefix) if below(lower(prefix), lower(path))

# As many components of a path as its prefix has.
head(path, prefix) := array.slice(split(path, "/"), 0, count(split(prefix, "/")))

plain(components) if {
	every component in components {
		trim(component, ascii) == ""
	}
}

ascii := " !\"#$%&'()*+,-.0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

below(_, prefix) if prefix == "/"

below(path, prefix) if path == prefix

below(path, prefix) if startswith(path, concat("", [prefix, "/"]))
