"""What a schema demands of a text whose words nobody may learn by asking whether it fits.

Whoever puts a text that it has not read into a place where the schema looks at texts learns from the answer what the
text says, one bit for each try. Here every branch of a schema counts, whatever the other arguments are: a demand may
be seen where there is none, never the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from trionyx_proxy.arguments import JSON
from trionyx_proxy.schema.document import Applies, Document, Subschema, subschemas

_OF_TEXTS: Final = frozenset({"const", "enum", "pattern"})
_OF_ALL_WITHIN: Final = frozenset({"const", "enum", "uniqueItems"})


def demands(document: Document, path: Sequence[str | int], fewest: int, most: int) -> bool:
    """Tell whether a text in a place may fit or not, depending on more than its bounds of length.

    Formats are not held against anything (`Document.compile`), and that a text is a text is known.

    Args:
        document: the schema.
        path: of the text in the arguments, by member names and positions.
        fewest: characters that it has at least, as far as is known without it.
        most: characters that it has at most.
    """
    here = _in_place(document, [document.root])
    for step in path:
        if any(_OF_ALL_WITHIN & schema.keys() for schema in here):
            return True
        here = _in_place(
            document, (sub.schema for one in here for sub in subschemas(one) if _is_at(sub, step))
        )
    return any(
        _OF_TEXTS & schema.keys()
        or fewest < _limit(schema, "minLength", 0)
        or most > _limit(schema, "maxLength", most)
        for schema in here
    )


def _in_place(document: Document, schemas: Iterable[JSON]) -> list[dict[str, JSON]]:
    """Return the schemas with all that apply to the same value as they do."""
    found: dict[int, dict[str, JSON]] = {}
    waiting = list(schemas)
    for schema in waiting:  # it grows meanwhile
        if isinstance(schema, dict) and id(schema) not in found:
            found[id(schema)] = schema
            waiting += _beside(document, schema)
    return list(found.values())


def _beside(document: Document, schema: dict[str, JSON]) -> Iterator[JSON]:
    if "$ref" in schema:
        yield document.target(schema)
    for sub in subschemas(schema):
        if sub.applies in (Applies.IN_PLACE, Applies.NEGATED):
            yield sub.schema


def _is_at(sub: Subschema, step: str | int) -> bool:
    """Whether a subschema may apply to the member of that name or position."""
    match sub.applies:
        case Applies.ONE_MEMBER:
            return sub.key == step
        case Applies.MEMBERS:
            return sub.keyword != "propertyNames"
        case _:
            return False


def _limit(schema: dict[str, JSON], keyword: str, otherwise: int) -> float:
    found = schema.get(keyword, otherwise)
    return found if isinstance(found, int | float) else otherwise
