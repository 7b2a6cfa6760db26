# METADATA
# title: Places in a file tree
# description: Helpers over canonical absolute POSIX paths; the host has resolved dots and doubled slashes.
package trionyx.lib.places

below(_, prefix) if prefix == "/"

below(path, prefix) if path == prefix

below(path, prefix) if startswith(path, concat("", [prefix, "/"]))
