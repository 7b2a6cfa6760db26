"""Declared defaults made explicit, so that the policy sees what the tool will act on.

Filled are members of objects that are present: under `properties`, list elements, `additionalProperties`,
`$ref`, `allOf`, and those branches of `anyOf` and `oneOf` that the value fits. Defaults in other places
(`patternProperties`, conditionals) stay unfilled; they are annotations, as everywhere in JSON Schema.
"""

from __future__ import annotations

import copy

import jsonschema_rs

from trionyx_proxy.arguments import ARGUMENTS, JSON, canonical
from trionyx_proxy.errors import ArgumentError, UpstreamError
from trionyx_proxy.schema.document import Document, step, subschemas

MAX_FILLED_BYTES = 64 << 10
"""Canonical bytes of all defaults filled into the arguments of one call."""


class Defaults:
    """The defaults of one document; raises UpstreamError on construction for a default that can never fit."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._branches: dict[int, jsonschema_rs.Draft202012Validator] = {}
        self._void: set[int] = set()
        self._any = False
        for where, place in document.places.items():
            if not isinstance(place, dict):
                continue
            if "default" in place:
                self._any = True
                self._settle(where, place)
        if self._any:
            for where, place in document.places.items():
                if isinstance(place, dict):
                    for sub in subschemas(place):
                        if sub.keyword in ("anyOf", "oneOf"):
                            self._branches[id(sub.schema)] = document.compile_part(where + step(sub))

    def _settle(self, where: str, place: dict[str, JSON]) -> None:
        default = place["default"]
        if self._document.compile_part(where).is_valid(default) or isinstance(default, dict | list):
            return  # an object may still gain members of its own
        if default is not None:
            raise UpstreamError("the input schema has a default that does not fit it")
        # A widespread way to say "absent" where null itself is not allowed.
        self._void.add(id(place))

    def fill(self, value: dict[str, JSON]) -> JSON:
        """Return a copy of the value with defaults filled in; validates nothing.

        Raises:
            ArgumentError: code `schema`: two declarations disagree on a default, or filling does not end.
        """
        if not self._any:
            return value
        filled = copy.deepcopy(value)
        _Filling(self._document, self._branches, self._void).visit(self._document.root, filled, 0)
        return filled


class _Filling:
    def __init__(
        self, document: Document, branches: dict[int, jsonschema_rs.Draft202012Validator], void: set[int]
    ) -> None:
        self._document = document
        self._branches = branches
        self._void = void
        self._filled: dict[tuple[int, str], bytes] = {}
        self._bytes_left = MAX_FILLED_BYTES

    def visit(self, schema: JSON, value: JSON, depth: int) -> None:
        if not isinstance(schema, dict) or not isinstance(value, dict | list):
            return
        if depth > 2 * ARGUMENTS.max_depth:
            raise ArgumentError("schema", "", "its declared defaults nest too deeply")
        if "$ref" in schema:
            self.visit(self._document.target(schema), value, depth + 1)
        for sub in sorted(subschemas(schema), key=lambda sub: (sub.keyword, str(sub.key))):
            match sub.keyword:
                case "allOf":
                    self.visit(sub.schema, value, depth + 1)
                case "anyOf" | "oneOf":
                    if self._branches[id(sub.schema)].is_valid(value):
                        self.visit(sub.schema, value, depth + 1)
                case "properties" if isinstance(value, dict) and isinstance(sub.key, str):
                    self._member(value, sub.key, sub.schema)
                    self.visit(sub.schema, value.get(sub.key), depth + 1)
                case "prefixItems" if isinstance(value, list) and isinstance(sub.key, int):
                    if sub.key < len(value):
                        self.visit(sub.schema, value[sub.key], depth + 1)
                case "items" if isinstance(value, list):
                    fixed = schema.get("prefixItems")
                    for element in value[len(fixed) if isinstance(fixed, list) else 0 :]:
                        self.visit(sub.schema, element, depth + 1)
                case "additionalProperties" if isinstance(value, dict):
                    declared = schema.get("properties")
                    for name in value.keys() - (declared.keys() if isinstance(declared, dict) else set()):
                        self.visit(sub.schema, value[name], depth + 1)

    def _member(self, value: dict[str, JSON], name: str, schema: JSON) -> None:
        place = schema
        while isinstance(place, dict) and "default" not in place and "$ref" in place:
            place = self._document.target(place)
        if not isinstance(place, dict) or "default" not in place or id(place) in self._void:
            return
        key, default = (id(value), name), canonical(place["default"])
        if name not in value:
            self._bytes_left -= len(default)
            if self._bytes_left < 0:
                raise ArgumentError("schema", "", "its declared defaults are too large")
            self._filled[key] = default
            value[name] = copy.deepcopy(place["default"])
        elif self._filled.get(key, default) != default:
            raise ArgumentError("schema", "", "its declared defaults disagree")
