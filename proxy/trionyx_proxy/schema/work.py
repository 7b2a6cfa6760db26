"""How often a value can be checked: a bound known before the first validation.

Validation time is at most (applications to any one value) × (values), each linear in the value's size. Both
factors are bounded: the second by the strict reading, the first here. Without this bound a few kilobytes of
nested alternatives keep a validator busy for hours, and it cannot be interrupted.
"""

from __future__ import annotations

from trionyx_proxy.arguments import ARGUMENTS, JSON
from trionyx_proxy.errors import UpstreamError
from trionyx_proxy.schema.document import Applies, Document, subschemas

MAX_APPLICATIONS = 2_000
"""Subschemas that may apply to any one value inside the arguments, re-evaluations counted."""


def check_work(document: Document) -> None:
    """Refuse a schema under which one value could be checked too often, or without end.

    Raises:
        UpstreamError: it could.
    """
    bound = _Bound(document)
    for depth in range(ARGUMENTS.max_depth + 1):
        if bound.applications(document.root, depth) > MAX_APPLICATIONS:
            raise UpstreamError("the input schema takes too much work to check")


class _Bound:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[tuple[int, int], int] = {}
        self._open: set[tuple[int, int]] = set()

    def applications(self, schema: JSON, depth: int) -> int:
        """Bound how many subschemas apply to any single value `depth` levels below where `schema` applies."""
        if not isinstance(schema, dict):
            return 1 if depth == 0 else 0
        key = (id(schema), depth)
        if key in self._open:
            raise UpstreamError("the input schema refers to itself without end")
        if key not in self._known:
            self._open.add(key)
            self._known[key] = min(self._count(schema, depth), MAX_APPLICATIONS + 1)
            self._open.remove(key)
        return self._known[key]

    def _count(self, schema: dict[str, JSON], depth: int) -> int:
        # Finding out which members were evaluated runs what applies in place again. Measured: about 2.5 times
        # at each level that asks itself; the one that closing adds is asked once per value and costs little.
        again = 3 if {"unevaluatedProperties", "unevaluatedItems"} & schema.keys() else 1
        count = 1 if depth == 0 else 0
        named = {"properties": 0, "prefixItems": 0}
        if "$ref" in schema:
            count += self.applications(self._document.target(schema), depth)
        for sub in subschemas(schema):
            match sub.applies:
                case Applies.IN_PLACE | Applies.NEGATED:
                    count += again * self.applications(sub.schema, depth)
                case Applies.ONE_MEMBER if depth:
                    named[sub.keyword] = max(named[sub.keyword], self.applications(sub.schema, depth - 1))
                case Applies.MEMBERS if depth:
                    count += self.applications(sub.schema, depth - 1)
        return count + sum(named.values())
