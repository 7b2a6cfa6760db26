"""What the security team says about tools and sinks: a typed, closed view of the bundle's data.

The catalog classifies; it decides nothing. Whatever is missing or odd closes: a tool that is not well
described is not in the catalog, an unreadable label of a result is TOP, an unreadable clearance is BOTTOM, an
oddly described field is untrusted text, an odd set has no members, and an odd resource is every resource.
"""

from trionyx_proxy.catalog.clearance import place, read_clearance
from trionyx_proxy.catalog.entry import (
    EVERYTHING,
    Argument,
    Case,
    Field,
    Names,
    Resource,
    ToolEntry,
    ValueSet,
    Zone,
)
from trionyx_proxy.catalog.tables import Catalog
from trionyx_proxy.catalog.vocabulary import ADDRESSING, EFFECTS, ArgumentType, Role, Shape

__all__ = [
    "ADDRESSING",
    "EFFECTS",
    "EVERYTHING",
    "Argument",
    "ArgumentType",
    "Case",
    "Catalog",
    "Field",
    "Names",
    "Resource",
    "Role",
    "Shape",
    "ToolEntry",
    "ValueSet",
    "Zone",
    "place",
    "read_clearance",
]
