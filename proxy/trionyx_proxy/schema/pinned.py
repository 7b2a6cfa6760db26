"""The pinned schema of one tool: what its arguments must fit, as it was when the proxy met the tool."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import jsonschema_rs

from trionyx_proxy.arguments import JSON, canonical, pointer
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.schema.defaults import Defaults
from trionyx_proxy.schema.demand import demands
from trionyx_proxy.schema.document import Document
from trionyx_proxy.schema.work import check_work

_UNDECLARED = "has a member that the tool does not declare"
_WORDS = {
    "additionalProperties": _UNDECLARED,
    "anyOf": "fits none of the declared alternatives",
    "const": "is not the declared constant",
    "enum": "is not one of the declared values",
    "falseSchema": _UNDECLARED,
    "oneOf": "does not fit exactly one of the declared alternatives",
    "pattern": "does not match the declared pattern",
    "required": "lacks a required member",
    "type": "is not of the declared type",
    "unevaluatedProperties": _UNDECLARED,
}


def descriptor_digest(descriptor: JSON) -> str:
    """Return the hex SHA-256 of a tool descriptor's canonical form: what the pin and each record name.

    Raises:
        ArgumentError: the descriptor has no canonical form.
    """
    return hashlib.sha256(canonical(descriptor)).hexdigest()


@dataclass(frozen=True, slots=True)
class PinnedSchema:
    """A compiled input schema; does not follow what the upstream announces later."""

    _document: Document
    _names: frozenset[str]
    _defaults: Defaults
    _announced: jsonschema_rs.Draft202012Validator
    _closed: jsonschema_rs.Draft202012Validator

    @classmethod
    def pin(cls, schema: JSON) -> PinnedSchema:
        """Compile an announced input schema; touches no network and no file.

        Args:
            schema: the descriptor's `inputSchema`, from the strict reading; 2020-12 or draft-07.

        Raises:
            UpstreamError: it is no schema, or outside the subset or the bounds that are served.
        """
        document = Document(schema)
        check_work(document)
        announced, closed = document.compile(document.root), document.compile(document.closed())
        return cls(document, frozenset(document.names), Defaults(document), announced, closed)

    def apply(self, value: JSON) -> JSON:
        """Return the value with every declared default made explicit; never coerces or drops anything.

        Args:
            value: one call's arguments, from the strict reading; not modified.

        Raises:
            ArgumentError: code `schema`. The pointer holds only names that the schema declares (others
                appear as `*`), and the message holds no received value.
        """
        if not isinstance(value, dict):
            raise ArgumentError("schema", "", "the arguments are not an object")
        filled = self._defaults.fill(value)
        # INVARIANT: what passes also passes the schema as announced. The closed form alone would not do:
        # a stricter branch under `oneOf` can make the whole laxer.
        for validator in (self._announced, self._closed):
            try:
                validator.validate(filled)
            except jsonschema_rs.ValidationError as error:
                raise self._refusal(error) from None
            except ValueError:
                raise ArgumentError("schema", "", "cannot be held against the declared schema") from None
        return filled

    def demands(self, path: Sequence[str | int], fewest: int, most: int) -> bool:
        """Tell whether a text in a place may fit or not by what it says, see `demand.demands`."""
        return demands(self._document, path, fewest, most)

    def _refusal(self, error: jsonschema_rs.ValidationError) -> ArgumentError:
        keyword = error.kind.name
        words = _WORDS.get(keyword, f"does not keep the declared {keyword}")
        where = [
            token if isinstance(token, int) or token in self._names else "*" for token in error.instance_path
        ]
        return ArgumentError("schema", pointer(where), words)
