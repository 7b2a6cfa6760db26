"""The closed JSON Schemas of the documents that cross the policy's border.

The host checks its own copies, those in the package: a bundle that carries others is refused at load.
Formats and remote references are not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jsonschema_rs
import orjson

from trionyx_policies.document import Json

SHIPPED = Path(__file__).parent / "bundle"


@dataclass(frozen=True, slots=True)
class Schema:
    """One JSON Schema 2020-12, compiled.

    Args:
        name: file name in `schemas/`, without suffix.
    """

    name: str
    validator: jsonschema_rs.Draft202012Validator

    @classmethod
    def of(cls, name: str, text: bytes) -> Schema:
        """Compile schema text.

        Raises:
            ValueError: the text is not JSON, or not a schema.
        """
        return cls(name, jsonschema_rs.Draft202012Validator(orjson.loads(text)))

    @classmethod
    def shipped(cls, name: str, *, open_ended: bool = False) -> Schema:
        """Compile one of the package's own schemas.

        Args:
            name: file name without suffix.
            open_ended: accept members beside those at the top that the schema describes.
        """
        schema = orjson.loads((SHIPPED / "schemas" / f"{name}.json").read_bytes())
        return cls.of(name, orjson.dumps(schema | {"additionalProperties": open_ended}))

    def accepts(self, value: Json) -> bool:
        """Tell whether a parsed document fits; a value that the validator cannot hold does not fit."""
        try:
            return self.validator.is_valid(value)
        except (ValueError, OverflowError, RecursionError):
            return False

    def problems(self, value: Json) -> list[tuple[str, str]]:
        """List what does not fit, as dotted path and message; for people, at load time."""
        return [
            (".".join(str(step) for step in error.instance_path), error.message.replace("\n", " "))
            for error in self.validator.iter_errors(value)
        ]


INPUT = Schema.shipped("input")
DECISION = Schema.shipped("decision")
DATA = Schema.shipped("data", open_ended=True)
MANIFEST = Schema.shipped("manifest")
INDEX = Schema.shipped("rules")
RECEIPT = Schema.shipped("build")
