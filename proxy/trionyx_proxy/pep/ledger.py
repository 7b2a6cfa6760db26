"""What one run has seen, kept between its calls: where values came from, and the text behind handles.

Admission asks it where arguments come from, the driver has it read results. It decides nothing and records nothing:
origins are facts for the policy, labels go into the run with the result. One process, one event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import orjson

from trionyx_proxy.arguments import JSON, canonical, pointer
from trionyx_proxy.catalog import Argument, ArgumentType, Role, ToolEntry
from trionyx_proxy.core.request import Failure, Request, Result
from trionyx_proxy.facts import embedded_urls
from trionyx_proxy.facts.call import Path, leaves
from trionyx_proxy.pep.delivery import sealed_result
from trionyx_proxy.pep.origin_fact import day_integrity, origin_fact
from trionyx_proxy.pep.placing import Resolved, resolve
from trionyx_proxy.pep.resources import Named
from trionyx_proxy.provenance import (
    NOWHERE,
    Handles,
    Hidden,
    Index,
    Origin,
    Reading,
    Source,
    id_scope,
    normal,
    read_result,
)
from trionyx_proxy.provenance.handles import MAX_HANDLES
from trionyx_proxy.provenance.mentions import things

MAX_LINKS: Final = 64
"""Links of one argument whose origin is looked up; with more, one of unknown origin stands for the rest."""

_READING: Final = frozenset({"read", "fetch"})
# Numbers, days and choices come back by chance; a result that holds them is not suspicious.
_COMMON: Final = frozenset(
    {
        ArgumentType.AMOUNT,
        ArgumentType.BOOLEAN,
        ArgumentType.DATE,
        ArgumentType.ENUM,
        ArgumentType.HANDLE,
        ArgumentType.INTEGER,
    }
)
# An extract is an answer to a question that the agent put: it chooses nothing that a call acts on.
EXTRACTED: Final = (Role.AMOUNT, Role.CONTENT, Role.TITLE, Role.WHEN)


OWN_PREFIX: Final = "trionyx_"


class ResourceTaint(Protocol):
    """The part of `pep.resources.Resources` that a ledger needs."""

    def taint(self, section: str, resources: Iterable[Named]) -> None:
        """Remember durably that resources hold untrusted data."""

    def is_tainted(self, section: str, resources: Iterable[Named]) -> bool:
        """Tell whether one of the resources holds untrusted data."""


class Ledger:
    """One run's provenance.

    Args:
        index: origins of values.
        handles: text behind handles.
        resources: taint of written resources.

    """

    def __init__(self, index: Index, handles: Handles, resources: ResourceTaint) -> None:
        self.index = index
        self.handles = handles
        self._resources = resources
        self._births: dict[str, tuple[str, str]] = {}

    def resolve(self, arguments: JSON, entry: ToolEntry, *, in_content_only: bool = False) -> Resolved:
        """Put the text behind each handle in its place, see `placing.resolve`.

        Raises:
            ArgumentError: a handle stands where none may, there is no such handle in this run, what it stands for is
                no text, or it is too much.
        """
        return resolve(
            arguments, entry, self.handles, in_content_only=in_content_only, is_measured=self._is_measured
        )

    def _is_measured(self, handle: str) -> bool:
        """Whether the agent was told a hidden text's size: what the proxy's own tools hide is shown without."""
        _, tool = self._births.get(handle, ("", ""))
        return tool != "" and not tool.startswith(OWN_PREFIX)

    def origins(self, resolved: Resolved, entry: ToolEntry, before: Request | None = None) -> list[JSON]:
        """Give `facts.origins`: where each described argument came from, and each link in a text.

        Args:
            resolved: the arguments, with defaults explicit.
            entry: the tool.
            before: the same call as it was decided before; what came from a handle then still does.
        """
        remembered = _handled_before(before)
        found: list[JSON] = []
        for path, argument, value in _described(resolved.arguments, entry):
            at = pointer(path)
            hidden = resolved.handled.get(path)
            if hidden is not None:
                call, tool = self._births.get(hidden.handle, ("", ""))
                source = Source("handle", call, tool, hidden.pointer)
                found.append(
                    origin_fact(
                        at, argument.role, argument.type, Origin(hidden.label, (source,)), handle=True
                    )
                )
            elif at in remembered:
                found.append(remembered[at])
            elif argument.role is not Role.PLAIN:
                scope = id_scope(entry.catalog, _thing(path, entry)) if _is_id(argument) else None
                origin = self.index.origin(value, argument.type, argument.role, scope)
                day = day_integrity(self.index, value, argument.type, argument.role)
                found.append(origin_fact(at, argument.role, argument.type, origin, day=day))
            if argument.type is ArgumentType.TEXT and isinstance(value, str):
                found += self._links(at, value)
        return found

    def _links(self, at: str, text: str) -> Iterator[JSON]:
        urls = embedded_urls(text)
        for url in urls[:MAX_LINKS]:
            origin = self.index.origin(url, ArgumentType.URL, Role.CONTENT)
            yield origin_fact(at, "link", ArgumentType.URL, origin)
        if len(urls) > MAX_LINKS:
            yield origin_fact(at, "link", ArgumentType.URL, NOWHERE)

    def sent(self, request: Request, entry: ToolEntry, *, tainted: bool) -> None:
        """Note what leaves with a call, before it does: what it stores may come back looking trustworthy.

        Args:
            request: about to be forwarded; its intent is on record.
            entry: the tool.
            tainted: the run has been shown untrusted text.

        Raises:
            StateError: what it writes cannot be remembered as untrusted; the call must not be sent.
        """
        texts = self.wrote(request, entry)
        if request.tool.effect in _READING or entry.resource is None or not entry.resource.writes:
            return
        named, section = _resources(request, entry), request.tool.catalog
        # What is moved or copied stays what it was.
        if texts or tainted or self._resources.is_tainted(section, named):
            self._resources.taint(section, named)

    def _untrusted(self, request: Request, entry: ToolEntry) -> list[str]:
        """Return the texts of a call that nothing vouches for.

        Plain arguments have no origin in the facts; a search word, say, can still come back in a trusted field.
        """
        facts: list[dict[str, Any]] = orjson.loads(request.facts).get("origins", [])
        untrusted = {
            fact["arg"] for fact in facts if fact["integrity"] == "public" and fact["role"] != "link"
        }
        texts: list[str] = []
        for path, argument, value in _described(orjson.loads(request.arguments), entry):
            if isinstance(value, bool):
                continue
            if pointer(path) in untrusted or (
                argument.role is Role.PLAIN
                and argument.type not in _COMMON
                and not self.index.origin(value, argument.type, argument.role).sources
            ):
                texts.append(str(value))
        return texts

    def wrote(self, request: Request, entry: ToolEntry) -> list[str]:
        """Remember the texts of a writing call that nothing vouches for, and return them."""
        if request.tool.effect in _READING:
            return []
        texts = self._untrusted(request, entry)
        self.index.wrote(texts)
        return texts

    def read(
        self,
        request: Request,
        entry: ToolEntry,
        result: Mapping[str, Any],
        *,
        hides_text: bool,
        max_bytes: int,
    ) -> Result | Failure:
        """Read a cleaned result, and give what of it is delivered.

        Args:
            request: the call that it answers.
            entry: the tool.
            result: `CallToolResult`, cleaned.
            hides_text: untrusted text becomes handles.
            max_bytes: limit on what is delivered.

        Raises:
            StateError: it cannot be found out whether what was read is tainted.
        """
        reading = self.reading(request, entry, result, hides_text=hides_text)
        return self.deliver(request, reading, max_bytes=max_bytes)

    def reading(
        self, request: Request, entry: ToolEntry, result: Mapping[str, Any], *, hides_text: bool
    ) -> Reading:
        """Label a cleaned result field by field, and hide what must be hidden; remembers nothing of it.

        Raises:
            StateError: it cannot be found out whether what was read is tainted.
        """
        reads = entry.resource is not None and entry.resource.reads
        tainted = reads and self._resources.is_tainted(request.tool.catalog, _resources(request, entry))
        texts = self._untrusted(request, entry)
        return read_result(
            result,
            entry,
            hide=hides_text,
            relabel=lambda found: self.index.relabel(found, texts),
            mint=self.handles.mint,
            taint=tainted,
        )

    def deliver(self, request: Request, reading: Reading, *, max_bytes: int) -> Result | Failure:
        """Remember where the values of a reading came from, and give the result to deliver."""
        sealed = sealed_result(reading.result, call=request.call, max_bytes=max_bytes)
        if isinstance(sealed, Failure):
            return sealed
        self.keep(request, reading.hidden)
        self.index.add(request.call, request.tool.id, reading.leaves)
        hidden: dict[str, Any] = {
            part.handle: {
                "content": part.content,
                "label": part.label.to_json(),
                "pointer": part.pointer,
                "type": part.kind.value,
            }
            for part in reading.hidden
        }
        return Result(sealed.status, sealed.body, reading.label, canonical(hidden) if hidden else b"")

    def extracted(self, hidden: Hidden, kind: ArgumentType, value: str | int) -> None:
        """Let a value that was taken out of a hidden text pass for what a call says, not for what it acts on."""
        call, tool = self._births.get(hidden.handle, ("", ""))
        for role in EXTRACTED:
            self.index.endorse(kind, value, role, Source("handle", call, tool, hidden.pointer))

    def keep(self, request: Request, hidden: Iterable[Hidden]) -> None:
        """Remember what handles stand for, and which call brought it."""
        for part in hidden:
            self.handles.put(part)
            self._births[part.handle] = request.call, request.tool.id
        while len(self._births) > MAX_HANDLES:
            del self._births[next(iter(self._births))]


def _described(
    arguments: JSON, entry: ToolEntry
) -> Iterator[tuple[Path, Argument, str | int | float | bool]]:
    for path, shape, value in leaves(arguments, (), (), entry):
        argument = entry.arguments.get(shape)
        if argument is not None and isinstance(value, str | int | float):
            yield path, argument, value


def _handled_before(before: Request | None) -> dict[str, JSON]:
    if before is None:
        return {}
    origins = orjson.loads(before.facts).get("origins", [])
    return {origin["arg"]: origin for origin in origins if origin["handle"]}


def _resources(request: Request, entry: ToolEntry) -> list[Named]:
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


def _is_id(argument: Argument) -> bool:
    """Whether an argument names something by an id; a number that a call acts on does."""
    if argument.type is ArgumentType.INTEGER:
        return argument.role in (Role.TARGET, Role.SELECTOR, Role.SECRET)
    return argument.type is ArgumentType.ID


def _thing(path: Path, entry: ToolEntry) -> str:
    """Return what an argument's id is the id of: `file` for `fileId`, and for `id` of `delete_file`."""
    return (things([step for step in path if isinstance(step, str)], entry.name, entry.catalog) or ("",))[-1]


def _named(value: str | int, argument: Argument | None) -> Named:
    """Return a resource by the one spelling of its name: `/a/./b` is `/a/b`."""
    if argument is None:
        return Named(str(value), is_path=False)
    return Named(normal(argument.type, value) or str(value), argument.type is ArgumentType.PATH)
