"""What one run has seen, kept between its calls: where values came from, and the text behind handles.

Admission asks it where arguments come from, the driver has it read results. It decides nothing and records nothing:
origins are facts for the policy, labels go into the run with the result. One process, one event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import orjson

from trionyx_proxy.arguments import JSON, canonical, pointer
from trionyx_proxy.catalog import ArgumentType, Role, ToolEntry
from trionyx_proxy.core.request import CallId, Failure, Request, Result
from trionyx_proxy.facts import embedded_urls
from trionyx_proxy.pep.delivery import sealed_result
from trionyx_proxy.pep.designation import described, is_name, resources_of, scope_of
from trionyx_proxy.pep.origin_fact import day_integrity, origin_fact
from trionyx_proxy.pep.placing import Resolved, resolve
from trionyx_proxy.pep.resources import ResourceTaint
from trionyx_proxy.provenance import (
    NOWHERE,
    Handles,
    Hidden,
    Index,
    Origin,
    Reading,
    Source,
    read_result,
)
from trionyx_proxy.provenance.handles import MAX_HANDLES
from trionyx_proxy.provenance.index import KNOWN, Own

NATIVE: Final = "trionyx"
"""Server alias and catalog section of the proxy's own tools, offered as `trionyx_NAME`; no upstream may have it."""

_OWN_PREFIX: Final = f"{NATIVE}_"

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


class Unvouched(NamedTuple):
    """A text of a call that nothing vouches for.

    Args:
        text: as sent.
        is_hidden: it was put in the place of a handle, whole or in part.
        is_name: it is the name of what the call acts on.
    """

    text: str
    is_hidden: bool
    is_name: bool


@dataclass(slots=True)
class _Sent:
    """A call under way.

    Args:
        request: as forwarded.
        entry: the tool.
        tainted: the run had been shown untrusted text.
        own: its untrusted texts; None until somebody has the time, or needs them.
    """

    request: Request
    entry: ToolEntry
    tainted: bool
    own: Own | None = None


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
        self._sent: dict[CallId, _Sent] = {}
        self._foreseen: dict[CallId, tuple[Request, list[Unvouched]]] = {}

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
        return tool != "" and not tool.startswith(_OWN_PREFIX)

    def origins(self, resolved: Resolved, entry: ToolEntry, before: Request | None = None) -> list[JSON]:
        """Give `facts.origins`: where each described argument came from, and each link in a text.

        Args:
            resolved: the arguments, with defaults explicit.
            entry: the tool.
            before: the same call as it was decided before; what came from a handle then still does.
        """
        remembered = _handled_before(before)
        found: list[JSON] = []
        for path, argument, value in described(resolved.arguments, entry):
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
                scope = scope_of(path, argument, entry)
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

    def foresee(self, request: Request, entry: ToolEntry) -> None:
        """Prepare for `sent`, while the intent is being recorded; needs `ended` even if the call is never sent."""
        self._foreseen[request.call] = request, self._untrusted(request, entry)

    def sent(self, request: Request, entry: ToolEntry, *, tainted: bool, brings_taint: bool) -> None:
        """Note what leaves with a call, before it does: what it stores may come back looking trustworthy.

        Args:
            request: about to be forwarded; its intent is on record.
            entry: the tool.
            tainted: the run had been shown untrusted text, which may have chosen the words.
            brings_taint: it is tainted, or will be by what this call brings; that may be what the call moves.

        Raises:
            StateError: what it writes cannot be remembered as untrusted; the call must not be sent.
        """
        is_reading = request.tool.effect in _READING
        self._sent[request.call] = _Sent(request, entry, tainted, None if is_reading else KNOWN)
        if is_reading:
            return
        foreseen, found = self._foreseen.pop(request.call, (None, []))
        if foreseen is not request:
            found = self._untrusted(request, entry)
        section = request.tool.catalog
        told: set[bytes] | None = None
        if section == NATIVE:
            pass  # what is said to another run keeps its label
        elif _is_unnamed(entry):
            told = self._told(found, tainted=tainted)
            self._resources.tell(told)
        else:
            named = resources_of(request, entry)
            # What is moved or copied stays what it was.
            if found or brings_taint or self._resources.is_tainted(section, named):
                self._resources.taint(section, named)
        self._remember(request, entry, found, tainted=tainted, told=told)

    def _told(self, texts: Iterable[Unvouched], *, tainted: bool) -> set[bytes]:
        """Return what later runs must know of what is written where no resource is named."""
        hearsay = self._resources.heard()
        told: set[bytes] = set()
        for one in texts:
            told |= self.index.told(hearsay, one.text, tainted=tainted or one.is_hidden)
        return told

    def _untrusted(self, request: Request, entry: ToolEntry) -> list[Unvouched]:
        """Return the texts of a call that nothing vouches for.

        Plain arguments have no origin in the facts; a search word, say, can still come back in a trusted field.
        """
        facts: list[dict[str, Any]] = orjson.loads(request.facts).get("origins", [])
        untrusted = {
            fact["arg"]: fact["handle"]
            for fact in facts
            if fact["integrity"] == "public" and fact["role"] != "link"
        }
        texts: list[Unvouched] = []
        for path, argument, value in described(orjson.loads(request.arguments), entry):
            if isinstance(value, bool):
                continue
            at = pointer(path)
            if at in untrusted or (
                argument.role is Role.PLAIN
                and argument.type not in _COMMON
                and not self.index.origin(value, argument.type, argument.role).sources
            ):
                texts.append(Unvouched(str(value), untrusted.get(at, False), is_name(argument)))
        return texts

    def wrote(self, request: Request, entry: ToolEntry, *, tainted: bool) -> list[Unvouched]:
        """Remember the texts of a call that nothing vouches for, and return them.

        Args:
            request: is or was forwarded.
            entry: the tool.
            tainted: the run had been shown untrusted text.
        """
        found = self._untrusted(request, entry)
        self._remember(request, entry, found, tainted=tainted)
        return found

    def _remember(
        self,
        request: Request,
        entry: ToolEntry,
        found: list[Unvouched],
        *,
        tainted: bool,
        told: set[bytes] | None = None,
    ) -> None:
        is_reading = request.tool.effect in _READING
        if not is_reading:
            self.index.wrote(_texts(found))
        if request.tool.catalog == NATIVE:
            return
        if is_reading:
            found = [one for one in found if not one.is_name]
            self.index.asked(_texts(found), tainted=tainted)
        # The run recognises its own words as later runs do: that goes further than the index in places.
        if told is None and (is_reading or _is_unnamed(entry)):
            told = self._told(found, tainted=tainted)
        if told:
            self._resources.heard().learn(b"".join(told))

    def catch_up(self) -> None:
        """Learn what waits to be learnt, and prepare for results; for when nobody waits for this run."""
        for sent in self._sent.values():
            self._prepare(sent)
        self.index.catch_up()

    def ended(self, call: CallId) -> None:
        """Forget what was kept for the result of a call: it came, or it never will."""
        self._foreseen.pop(call, None)
        sent = self._sent.pop(call, None)
        if sent is not None:
            self._prepare(sent)

    def _prepare(self, sent: _Sent) -> None:
        """Remember what a reading call looks for, before any result is read after it left."""
        if sent.own is None:
            found = self.wrote(sent.request, sent.entry, tainted=sent.tainted)
            sent.own = self.index.own(_texts(found))

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
        tainted = reads and self._resources.is_tainted(request.tool.catalog, resources_of(request, entry))
        for sent in self._sent.values():
            self._prepare(sent)
        mine = self._sent.get(request.call)
        prepared = mine.own if mine is not None and mine.request is request else None
        own = self.index.own(_texts(self._untrusted(request, entry))) if prepared is None else prepared
        hearsay = self._resources.hearsay()
        return read_result(
            result,
            entry,
            hide=hides_text,
            relabel=lambda found: self.index.relabel(found, own, hearsay),
            mint=self.handles.mint,
            taint=tainted,
        )

    def deliver(self, request: Request, reading: Reading, *, max_bytes: int) -> Result | Failure:
        """Remember where the values of a reading came from, and give the result to deliver."""
        self.ended(request.call)
        sealed = sealed_result(reading.result, call=request.call, max_bytes=max_bytes)
        if isinstance(sealed, Failure):
            return sealed
        self.keep(request, reading.hidden)
        self.index.add(request.call, request.tool.id, reading.leaves)
        # Labels are few, and each is written out once.
        labels = {id(part.label): part.label for part in reading.hidden}
        written = {key: label.to_json() for key, label in labels.items()}
        hidden: dict[str, Any] = {
            part.handle: {
                "content": part.content,
                "label": written[id(part.label)],
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


def _is_unnamed(entry: ToolEntry) -> bool:
    """Whether what a tool writes, it writes without naming a resource."""
    return entry.resource is None or not entry.resource.writes


def _texts(found: Iterable[Unvouched]) -> list[str]:
    return [one.text for one in found]


def _handled_before(before: Request | None) -> dict[str, JSON]:
    if before is None:
        return {}
    origins = orjson.loads(before.facts).get("origins", [])
    return {origin["arg"]: origin for origin in origins if origin["handle"]}
