"""What the arguments of a call name, going by the catalog: things by their ids, resources by their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import orjson

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog import Argument, ArgumentType, Role, ToolEntry
from trionyx_proxy.core.request import Request
from trionyx_proxy.facts.call import Path, leaves
from trionyx_proxy.pep.resources import Named
from trionyx_proxy.provenance import id_scope, normal
from trionyx_proxy.provenance.mentions import things

# What a reading call names must be there, and is shown as what it is; what it looks for need not be anywhere.
_NAMING: Final = frozenset({ArgumentType.ID, ArgumentType.NAME, ArgumentType.PATH, ArgumentType.REVISION})

_CHOOSING: Final = frozenset({Role.TARGET, Role.SELECTOR, Role.SECRET})


def described(arguments: JSON, entry: ToolEntry) -> Iterator[tuple[Path, Argument, str | int | float | bool]]:
    """Yield the arguments that the catalog describes: where each stands, what it is, its value."""
    for path, shape, value in leaves(arguments, (), (), entry):
        argument = entry.arguments.get(shape)
        if argument is not None and isinstance(value, str | int | float):
            yield path, argument, value


def resources_of(request: Request, entry: ToolEntry) -> list[Named]:
    """Return the resources that a call touches; everything, where it does not say."""
    resource = entry.resource
    if resource is None:
        return []
    named = [
        _named(value, entry.arguments.get(shape))
        for _, shape, value in leaves(orjson.loads(request.arguments), (), (), entry)
        if shape in resource.arguments and isinstance(value, str | int)
    ]
    if any(name.is_path for name in named):
        return named
    # Several arguments that are no paths name one resource together.
    return [Named("\0".join(name.name for name in named), is_path=False)]


def is_name(argument: Argument) -> bool:
    """Tell whether an argument is the name of what a call acts on."""
    return argument.role in (Role.SELECTOR, Role.TARGET) and argument.type in _NAMING


def scope_of(path: Path, argument: Argument, entry: ToolEntry) -> str | None:
    """Return what an id names, see `provenance.id_scope`; None for what is none. A number that is acted on is one."""
    is_number = argument.type is ArgumentType.INTEGER and argument.role in _CHOOSING
    if not is_number and argument.type is not ArgumentType.ID:
        return None
    # `file` for `fileId`, and for `id` of `delete_file`.
    named = things([step for step in path if isinstance(step, str)], entry.name, entry.catalog)
    return id_scope(entry.catalog, (named or ("",))[-1])


def _named(value: str | int, argument: Argument | None) -> Named:
    """Return a resource by the one spelling of its name: `/a/./b` is `/a/b`."""
    if argument is None:
        return Named(str(value), is_path=False)
    return Named(normal(argument.type, value) or str(value), argument.type is ArgumentType.PATH)
