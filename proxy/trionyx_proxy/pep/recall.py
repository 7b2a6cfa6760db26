"""A later process of a run learns again what an earlier one had seen, from the log alone.

What cannot be read again is not guessed: then nothing that earlier results said vouches for a value any more, and no
later result is trusted either, since what the run wrote could come back in it. Endorsements are not its matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from trionyx_audit.errors import AuditError
from trionyx_audit.opening import PayloadOpener
from trionyx_audit.record import Record
from trionyx_proxy.catalog import ArgumentType, Catalog, ToolEntry
from trionyx_proxy.core.evidence import INTENT, OUTCOME
from trionyx_proxy.core.label import Integrity, parse_label
from trionyx_proxy.core.request import CallId, Request, Tool
from trionyx_proxy.errors import ArgumentError
from trionyx_proxy.pep.ledger import NATIVE, Ledger
from trionyx_proxy.pep.native import NativeTools
from trionyx_proxy.provenance import TOKEN, Hidden


class Recall:
    """Reads the records of a run in the order of its log.

    Args:
        ledger: empty; is filled.
        native: is charged again for what was extracted.
        catalog: the one in force, which may describe a tool otherwise than it did.
        opener: decrypts payloads.

    """

    def __init__(self, ledger: Ledger, native: NativeTools, catalog: Catalog, opener: PayloadOpener) -> None:
        self._ledger = ledger
        self._native = native
        self._catalog = catalog
        self._opener = opener
        self._requests: dict[CallId, Request] = {}

    def read(self, records: Iterable[Record]) -> bool:
        """Learn from records; return whether everything could be read. If not, the ledger trusts nothing."""
        try:
            for record in records:
                if record.type == INTENT:
                    self._intent(record)
                elif record.type == OUTCOME:
                    self._outcome(record)
        except (AuditError, ArgumentError, ValueError, KeyError, TypeError, AttributeError):
            self._ledger.index.close()
            return False
        return True

    def _intent(self, record: Record) -> None:
        body: Mapping[str, Any] = record.body
        described = body["tool"]
        payloads = self._payloads(record, "args", "input")
        call = CallId(body["call"])
        label = parse_label(body["label_before"])
        request = Request(
            call=call,
            tool=Tool(
                described["id"],
                described["server"],
                described["catalog"],
                described["name"],
                described["effect"],
                label,
                described["descriptor_sha256"],
            ),
            arguments=payloads["args"],
            facts=orjson.dumps(orjson.loads(payloads["input"])["facts"]),
            clearance=label,
            at_ms=body["at_ms"],
        )
        self._requests[call] = request
        if described["catalog"] == NATIVE:
            self._native.recharge(described["name"], payloads["args"])
        entry = self._entry(request)
        if entry is None:
            # What of its arguments was untrusted cannot be told any more.
            raise KeyError(described["name"])
        self._ledger.wrote(request, entry, tainted=label.integrity is Integrity.PUBLIC)

    def _outcome(self, record: Record) -> None:
        body: Mapping[str, Any] = record.body
        request = self._requests.pop(CallId(body["call"]), None)
        if request is None or "result" not in body:
            return
        payloads = self._payloads(record, "result", *(["hidden"] if "hidden" in body else []))
        hidden = [
            Hidden(
                handle,
                part["pointer"],
                ArgumentType(part["type"]),
                parse_label(part["label"]),
                part["content"],
            )
            for handle, part in orjson.loads(payloads.get("hidden", b"{}")).items()
        ]
        entry = self._entry(request)
        if body["withheld"] or entry is None or request.tool.catalog == NATIVE:
            # An extract was endorsed for what the run had seen by then; it is not endorsed again.
            self._ledger.keep(request, hidden)
            return
        result = orjson.loads(payloads["result"])
        del result["_meta"]
        reading = self._ledger.reading(request, entry, result, hides_text=False)
        leaves = [
            leaf for leaf in reading.leaves if not (isinstance(leaf.value, str) and TOKEN.search(leaf.value))
        ]
        self._ledger.keep(request, hidden)
        self._ledger.index.add(request.call, request.tool.id, leaves)

    def _entry(self, request: Request) -> ToolEntry | None:
        return self._catalog.tool(request.tool.catalog, request.tool.name)

    def _payloads(self, record: Record, *names: str) -> dict[str, bytes]:
        opened = self._opener.open(record)
        found = {name: data for name in names if (data := opened[name]) is not None}
        if len(found) != len(names):
            raise KeyError("a payload is missing")
        return found
