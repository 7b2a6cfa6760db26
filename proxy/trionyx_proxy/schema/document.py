"""The schema document: its subschemas by pointer, its references, and its closed form.

What an upstream announces is held to a subset of JSON Schema 2020-12 that has one meaning: a reference is a
pointer to a subschema of the same document, there are no dynamic scopes and no other base URIs.
Source: JSON Schema 2020-12 core, sections 8, 10 and 11.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import quote, unquote

import jsonschema_rs

from trionyx_proxy.arguments import JSON, Limits, check, pointer
from trionyx_proxy.errors import ArgumentError, UpstreamError

LIMITS = Limits(
    max_bytes=64 << 10, max_depth=64, max_string_bytes=16 << 10, max_key_bytes=256, max_nodes=10_000
)
"""What one input schema may measure in canonical form."""

DIALECTS = frozenset(
    {
        "https://json-schema.org/draft/2020-12/schema",
        # Many servers still announce draft-07. What is kept here means the same in both; the rest is refused.
        "http://json-schema.org/draft-07/schema",
    }
)
REFUSED = frozenset(
    {
        "$anchor",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$recursiveAnchor",
        "$recursiveRef",
        "$schema",
        "$vocabulary",
        "dependencies",
    }
)
"""Keywords that would move a base URI, a scope or a dialect; `$id` and `$schema` are dropped at the root."""


class Applies(Enum):
    """Where a subschema applies, seen from the value that its parent applies to."""

    IN_PLACE = auto()
    NEGATED = auto()  # in place too, but making it stricter could make the whole laxer
    ONE_MEMBER = auto()  # to the member of that name or position only
    MEMBERS = auto()  # to any number of members, names or elements
    NOWHERE = auto()  # a definition, reached only by reference


KEYWORDS: Mapping[str, Applies] = {
    "allOf": Applies.IN_PLACE,
    "anyOf": Applies.IN_PLACE,
    "oneOf": Applies.IN_PLACE,
    "then": Applies.IN_PLACE,
    "else": Applies.IN_PLACE,
    "dependentSchemas": Applies.IN_PLACE,
    "if": Applies.NEGATED,
    "not": Applies.NEGATED,
    "properties": Applies.ONE_MEMBER,
    "prefixItems": Applies.ONE_MEMBER,
    "patternProperties": Applies.MEMBERS,
    "additionalProperties": Applies.MEMBERS,
    "unevaluatedProperties": Applies.MEMBERS,
    "propertyNames": Applies.MEMBERS,
    "items": Applies.MEMBERS,
    "unevaluatedItems": Applies.MEMBERS,
    "contains": Applies.MEMBERS,
    "$defs": Applies.NOWHERE,
    "definitions": Applies.NOWHERE,
}
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs", "definitions"})


class Subschema(NamedTuple):
    """One step into a schema: the keyword, the name or position under it (None: the keyword's own value)."""

    keyword: str
    key: str | int | None
    schema: JSON
    applies: Applies


def subschemas(schema: Mapping[str, JSON]) -> Iterator[Subschema]:
    """Yield the direct subschemas; members of the wrong shape are skipped (and do not compile)."""
    for keyword in schema.keys() & KEYWORDS.keys():
        inner, applies = schema[keyword], KEYWORDS[keyword]
        if keyword in _LISTS and isinstance(inner, list):
            for position, sub in enumerate(inner):
                yield Subschema(keyword, position, sub, applies)
        elif keyword in _MAPS and isinstance(inner, dict):
            for name, sub in inner.items():
                yield Subschema(keyword, name, sub, applies)
        elif keyword not in _LISTS and keyword not in _MAPS:
            yield Subschema(keyword, None, inner, applies)


class Document:
    """A schema within the subset; raises UpstreamError on construction for anything outside of it."""

    def __init__(self, schema: JSON) -> None:
        try:
            check(schema, LIMITS)
        except ArgumentError as error:
            raise UpstreamError(f"the input schema is refused: {error}") from None
        if not isinstance(schema, dict):
            raise UpstreamError("the input schema is not an object")
        dialect = schema.get("$schema", "https://json-schema.org/draft/2020-12/schema")
        if not isinstance(dialect, str) or dialect.removesuffix("#") not in DIALECTS:
            raise UpstreamError("the input schema is of a dialect other than 2020-12 and draft-07")
        self.root: dict[str, JSON] = {k: v for k, v in schema.items() if k not in ("$schema", "$id")}
        self.places: dict[str, JSON] = {}
        """Every subschema, by its JSON pointer as a URI fragment would spell it, unescaped of percents."""
        self.names: set[str] = set()
        """Every member name that the schema declares anywhere."""
        self._collect(self.root, "")
        for place in self.places.values():
            if isinstance(place, dict) and "$ref" in place:
                self.target(place)

    def _collect(self, schema: JSON, where: str) -> None:
        self.places[where] = schema
        if isinstance(schema, bool):
            return
        if not isinstance(schema, dict):
            raise UpstreamError("the input schema is malformed")
        if refused := sorted(REFUSED & schema.keys()):
            raise UpstreamError(f"the input schema uses {refused[0]}, which is not served")
        properties = schema.get("properties")
        if isinstance(properties, dict):
            self.names |= properties.keys()
        for sub in subschemas(schema):
            self._collect(sub.schema, where + step(sub))

    def target(self, schema: Mapping[str, JSON]) -> JSON:
        """Return the subschema that `$ref` points at.

        Raises:
            UpstreamError: it points outside the document, or at something that is no subschema.
        """
        reference = schema["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UpstreamError("the input schema refers to another document")
        where = unquote(reference[1:])
        if where not in self.places:
            raise UpstreamError("the input schema has a reference to nothing")
        return self.places[where]

    def closed(self) -> JSON:
        """Return the schema that also refuses members nobody declares.

        Wherever a value is described by `properties`, however deep under `allOf`, `$ref` and the like, and
        nothing explicitly allows more, `unevaluatedProperties: false` is added. The root is always closed
        unless it says otherwise: a tool that declares no arguments takes none.
        """
        closed = self._close(self.root, own_value=True)
        if isinstance(closed, dict) and not {"additionalProperties", "unevaluatedProperties"} & closed.keys():
            closed["unevaluatedProperties"] = False
        return closed

    def _close(self, schema: JSON, *, own_value: bool) -> JSON:
        if not isinstance(schema, dict):
            return schema
        closed = dict(schema)
        for keyword in schema.keys() & KEYWORDS.keys():
            applies = KEYWORDS[keyword]
            if applies is Applies.NEGATED:
                continue
            own = applies in (Applies.ONE_MEMBER, Applies.MEMBERS)
            match schema[keyword]:
                case list() as subs:
                    closed[keyword] = [self._close(sub, own_value=own) for sub in subs]
                case dict() as subs if keyword in _MAPS:
                    closed[keyword] = {name: self._close(sub, own_value=own) for name, sub in subs.items()}
                case sub:
                    closed[keyword] = self._close(sub, own_value=own)
        explicit = {"additionalProperties", "unevaluatedProperties"} & schema.keys()
        if own_value and not explicit and self._declares(schema, set()):
            closed["unevaluatedProperties"] = False
        return closed

    def _declares(self, schema: JSON, seen: set[int]) -> bool:
        """Tell whether the schema, or one that applies in place with it, declares members."""
        if not isinstance(schema, dict) or id(schema) in seen:
            return False
        seen.add(id(schema))
        if {"properties", "patternProperties"} & schema.keys():
            return True
        inner = [sub.schema for sub in subschemas(schema) if sub.applies is Applies.IN_PLACE]
        if "$ref" in schema:
            inner.append(self.target(schema))
        return any(self._declares(sub, seen) for sub in inner)

    def compile(self, schema: JSON) -> jsonschema_rs.Draft202012Validator:
        """Compile with the linear-time pattern engine and no way to retrieve anything.

        Args:
            schema: this document in some form; references are resolved within it.

        Raises:
            UpstreamError: it is not a valid schema, or a pattern needs more than a finite automaton.
        """
        if not isinstance(schema, dict):
            raise UpstreamError("the input schema is not an object")
        try:
            return jsonschema_rs.Draft202012Validator(
                schema,
                validate_formats=False,
                offline=True,
                pattern_options=jsonschema_rs.RegexOptions(size_limit=1 << 18, dfa_size_limit=1 << 20),
            )
        except jsonschema_rs.ValidationError as error:
            # The library's own text quotes the schema at length; the place is enough to find the fault.
            where = pointer(error.instance_path)
            raise UpstreamError(f"the input schema does not compile{where and ' at ' + where}") from None
        except (jsonschema_rs.ReferencingError, ValueError):
            raise UpstreamError("the input schema does not compile") from None

    def compile_part(self, where: str) -> jsonschema_rs.Draft202012Validator:
        """Compile one subschema by its pointer, its references still meaning the whole document."""
        # The root's own keywords must not apply, so the document becomes a definition, pointers and all.
        return self.compile({"$ref": "#/$defs/root" + quote(where), "$defs": {"root": _moved(self.root)}})


def step(sub: Subschema) -> str:
    """Return the pointer tokens from a schema to its direct subschema."""
    if sub.key is None:
        return f"/{sub.keyword}"
    return f"/{sub.keyword}/" + str(sub.key).replace("~", "~0").replace("/", "~1")


def _moved(schema: JSON) -> JSON:
    """Return a copy in which every reference points below `#/$defs/root`."""
    if not isinstance(schema, dict):
        return schema
    moved = dict(schema)
    if isinstance(reference := schema.get("$ref"), str):
        moved["$ref"] = "#/$defs/root" + reference[1:]
    for keyword in schema.keys() & KEYWORDS.keys():
        match schema[keyword]:
            case list() as subs:
                moved[keyword] = [_moved(sub) for sub in subs]
            case dict() as subs if keyword in _MAPS:
                moved[keyword] = {name: _moved(sub) for name, sub in subs.items()}
            case sub:
                moved[keyword] = _moved(sub)
    return moved
