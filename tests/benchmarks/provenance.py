"""What provenance and labels add to one call: `python tests/benchmarks/provenance.py [CALLS] [HISTORY …]`.

Each kind of call is made in runs with 0, 50, 200 and 800 earlier results of 4 KB, with and without provenance, all of
them in turn, so that a busy machine is busy for all of them. Every tenth earlier call wrote a text of 300 bytes. In
half of the runs the tenant's state file on disk remembers 50 more, which another run sent that had read untrusted text
(`heard`). The kinds: `mails` returns ten mails as JSON, of which half are the organisation's and half are anybody's and
hidden; `file` returns 4 KB of the organisation's own text; `send` has four arguments (an address out of an earlier
result, a date, a title, a text) and returns an id; `both` has the four arguments and returns the mails.

"Without" is what any proxy does: the canonical form of the result. Prints the medians of what the ledger adds and of
its steps; of what it adds also the tenth percentile, which other work on the machine disturbs least, and the mean,
which has the collector's pauses and what is learnt for later calls in it; and ratios to a yardstick, a fixed piece of
pure Python, to the budget, and to the shortest history. Times are of the thread's own work.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from trionyx_proxy.arguments import canonical
from trionyx_proxy.catalog import Catalog, ToolEntry
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.core.request import CallId, Request, Result, Tool
from trionyx_proxy.pep.delivery import sealed_result
from trionyx_proxy.pep.ledger import Ledger
from trionyx_proxy.pep.placing import Resolved
from trionyx_proxy.pep.resources import Resources
from trionyx_proxy.provenance import Handles, Index, prompt_words
from trionyx_proxy.state import RunStore

HISTORIES = (0, 50, 200, 800)
BUDGET_US = 300
KEY = b"k" * 32
HEARD = (0, 50)
CLOCK = time.thread_time
PROMPT = (
    "Read the mails of this week and book a lunch with Sarah on May 20th 2024 at 12:30, then send the plan to "
    "jonas@corp.example and to everybody who wrote about the budget. The file is report.docx."
)
STEPS = ("origins", "sent", "reading", "deliver")
_SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi wo ra le ki so tu na".split()
_COMMON = "the to of and a in for is on that with we you it be this have are will at".split()
_OTHERS = ["".join(syllables) for syllables in product(_SYLLABLES, repeat=4)]
random.Random(0).shuffle(_OTHERS)  # noqa: S311 - figures, not secrets


def label(integrity: str) -> dict[str, Any]:
    """Return a label that restricts nobody."""
    return {"integrity": integrity, "level": "public", "readers": "*", "categories": []}


def _field(kind: str, integrity: str, *, is_judged: bool = False) -> dict[str, Any]:
    described: dict[str, Any] = {"type": kind, "label": label(integrity)}
    if is_judged:
        described["when"] = [{"field": "sender", "in": "organisation", "label": label("org")}]
    return described


TOOLS: dict[str, Any] = {
    "read": {
        "effect": "read",
        "args": {"/folder": {"role": "selector", "type": "name"}, "/query": {"role": "plain", "type": "text"}},
        "result": label("public"),
        "fields": {
            "/messages/*/id": _field("id", "system"),
            "/messages/*/sender": _field("email", "public", is_judged=True),
            "/messages/*/date": _field("date", "system"),
            "/messages/*/size": _field("integer", "system"),
            "/messages/*/subject": _field("text", "public", is_judged=True),
            "/messages/*/body": _field("text", "public", is_judged=True),
        },
    },
    "load": {
        "effect": "read",
        "args": {"/path": {"role": "selector", "type": "path"}},
        "result": label("org"),
    },
    "send": {
        "effect": "egress",
        "args": {
            "/to": {"role": "target", "type": "email"},
            "/when": {"role": "when", "type": "date"},
            "/title": {"role": "title", "type": "text"},
            "/text": {"role": "content", "type": "text"},
        },
        "result": label("system"),
        "fields": {"/id": _field("id", "system")},
    },
}  # fmt: skip


def entries() -> dict[str, ToolEntry]:
    """Describe the tools; `both` takes what `send` takes and returns what `read` returns."""
    tools = {**TOOLS, "both": {**TOOLS["read"], "effect": "egress", "args": TOOLS["send"]["args"]}}
    data: Any = {
        "catalog": {
            "servers": {"mail": {"tools": tools}},
            "sets": {"organisation": {"domains": ["corp.example"]}},
        }
    }
    catalog = Catalog.from_data(data)
    found = {name: catalog.tool("mail", name) for name in tools}
    return {name: entry for name, entry in found.items() if entry is not None}


def words(random_: random.Random, count: int) -> str:
    """Return so many words; two of five are common ones, the others are as frequent as in any text (Zipf)."""
    last = len(_COMMON) + len(_OTHERS)
    return " ".join(
        random_.choice(_COMMON)
        if random_.random() < 0.4
        else _OTHERS[int(len(_COMMON) * (last / len(_COMMON)) ** random_.random()) - len(_COMMON)]
        for _ in range(count)
    )


def prose(random_: random.Random, chars: int) -> str:
    """Return sentences of about so many characters in all."""
    text = ""
    while len(text) < chars:
        text += words(random_, random_.randint(6, 14)).capitalize() + ". "
    return text.strip()


def block(text: str) -> dict[str, Any]:
    """Return a result of one text."""
    return {"content": [{"type": "text", "text": text}], "isError": False, "resultType": "complete"}


def mails(random_: random.Random) -> dict[str, Any]:
    """Return a result of about 4 KB: ten mails as JSON in one text block."""
    found = [
        {
            "id": f"m{random_.randrange(10**9)}",
            "sender": f"{words(random_, 1)}{random_.randrange(10**6)}@{('corp', 'other')[number % 2]}.example",
            "date": f"2024-05-{random_.randint(1, 28):02}T{random_.randint(0, 23):02}:15",
            "size": random_.randrange(10**5),
            "subject": words(random_, 5).capitalize(),
            "body": prose(random_, 200),
        }
        for number in range(10)
    ]
    return block(json.dumps({"messages": found}))


class Traffic:
    """The calls of one run, and what they cost.

    Args:
        history: earlier results.
        heard: texts that another run of the tenant sent.
        store: remembers them.
    """

    def __init__(self, history: int, heard: int, store: RunStore) -> None:
        self._random = random.Random(history)  # noqa: S311 - figures, not secrets
        self._entries = entries()
        tenant = f"{history} {heard}"
        overhear(store, tenant, heard)
        resources = Resources(store, tenant, "run", KEY)
        self._ledger = Ledger(Index(prompt_words(PROMPT, KEY), KEY), Handles(), resources)
        self._known = ["jonas@corp.example"]
        self._number = 0
        self.sizes: list[int] = []
        for number in range(history):
            if number % 10 == 0:
                self._ledger.index.wrote([prose(self._random, 300)])
            self.call("mails")

    def call(self, kind: str) -> dict[str, float]:
        """Make one call; return the microseconds of each step, of the bare call, and of what was added."""
        entry, arguments, result = self._drawn(kind)
        request = self._request(entry, arguments)
        begun = CLOCK()
        bare = sealed_result(result, call="c", max_bytes=1 << 20)
        sealed = CLOCK()
        origins = self._ledger.origins(Resolved(arguments), entry)
        judged = CLOCK()
        request = self._request(entry, arguments, origins)
        decided = CLOCK()
        self._ledger.foresee(request, entry)
        facts = CLOCK()
        self._ledger.sent(request, entry, tainted=False, brings_taint=False)
        sent = CLOCK()
        self._ledger.catch_up()
        waited = CLOCK()
        reading = self._ledger.reading(request, entry, result, hides_text=True)
        read = CLOCK()
        delivered = self._ledger.deliver(request, reading, max_bytes=1 << 20)
        ended = CLOCK()
        self._ledger.catch_up()
        idle = CLOCK()
        if not isinstance(delivered, Result) or not isinstance(bare, Result):
            raise SystemExit("a result was not delivered")
        self._known += [
            str(leaf.value) for leaf in reading.leaves
            if leaf.label.integrity is not Integrity.PUBLIC and str(leaf.value).endswith("@corp.example")
        ]  # fmt: skip
        steps = (judged - sealed, sent - facts, read - waited, ended - read)
        taken = dict(zip(STEPS, (1e6 * step for step in steps), strict=True))
        bare_us, beside_us = 1e6 * (sealed - begun), 1e6 * (facts - decided + waited - sent + idle - ended)
        return {**taken, "bare": bare_us, "added": sum(taken.values()) - bare_us, "beside": beside_us}

    def _drawn(self, kind: str) -> tuple[ToolEntry, dict[str, Any], dict[str, Any]]:
        random_ = self._random
        sending = {
            "to": random_.choice(self._known),
            "when": "2024-05-20 12:30",
            "title": f"Lunch with Sarah {words(random_, 1)}",
            "text": prose(random_, 250),
        }
        if kind == "send":
            return self._entries["send"], sending, block(json.dumps({"id": f"s{random_.randrange(10**9)}"}))
        if kind == "file":
            return self._entries["load"], {"path": "report.docx"}, block(prose(random_, 4_000))
        result = mails(random_)
        self.sizes.append(len(result["content"][0]["text"]))
        if kind == "both":
            return self._entries["both"], sending, result
        return self._entries["read"], {"folder": "Inbox", "query": words(random_, 2)}, result

    def _request(
        self, entry: ToolEntry, arguments: Mapping[str, Any], origins: list[Any] | None = None
    ) -> Request:
        self._number += 1
        tool = Tool(f"mail__{entry.name}", "mail", "mail", entry.name, entry.effect, entry.output, "")
        return Request(
            CallId(f"c{self._number}"), tool, canonical(dict(arguments)), canonical({"origins": origins or []}),
            Label(Integrity.PUBLIC), 1,
        )  # fmt: skip


def overhear(store: RunStore, tenant: str, count: int) -> None:
    """Have another run of a tenant send so many texts that nobody vouches for."""
    random_ = random.Random(1)  # noqa: S311 - figures, not secrets
    other = Resources(store, tenant, "another run", KEY)
    for _ in range(count):
        other.tell(other.hearsay().digests(prose(random_, 300), lambda _: False, None))


def yardstick() -> float:
    """Return the microseconds that a fixed loop takes, to tell how fast the machine is now."""
    begun = CLOCK()
    counted: dict[str, int] = {}
    for number in range(1_000):
        name = f"n{number % 97}"
        counted[name] = counted.get(name, 0) + number
    return (CLOCK() - begun) * 1e6


def main() -> None:
    """Print one line for each kind of call and length of history."""
    arguments = [int(argument) for argument in sys.argv[1:]]
    calls, histories = max(2, (arguments or [60])[0]), tuple(arguments[1:]) or HISTORIES
    with tempfile.TemporaryDirectory() as directory:
        store = RunStore.open(Path(directory) / "state")
        pairs = product(histories, HEARD)
        measure({(history, heard): Traffic(history, heard, store) for history, heard in pairs}, calls)
        store.close()


def measure(runs: Mapping[tuple[int, int], Traffic], calls: int) -> None:
    """Make so many calls of each kind in each run, by its history and what was heard; print what they took."""
    yards: list[float] = []
    taken: dict[tuple[str, int, int], list[dict[str, float]]] = {}
    for _ in range(calls):
        for (history, heard), traffic in runs.items():
            for kind in ("mails", "file", "send", "both"):
                yards.append(yardstick())
                taken.setdefault((kind, heard, history), []).append(traffic.call(kind))
    yard = statistics.median(yards)
    sizes = [size for traffic in runs.values() for size in traffic.sizes]
    print(f"yardstick {yard:.0f}us; mails of {statistics.mean(sizes):.0f} bytes; times in microseconds")
    columns = (*STEPS, "bare", "beside", "added")
    print(f"{'call':6} {'heard':>5} {'history':>7} " + " ".join(f"{column:>8}" for column in columns)
          + f" {'p10':>8} {'mean':>8} {'yards':>6} {'of 300us':>9} {'growth':>7}")  # fmt: skip
    shortest = min(history for history, _ in runs)
    for (kind, heard, history), rows in sorted(taken.items()):
        medians = {column: statistics.median(row[column] for row in rows) for column in columns}
        first = statistics.median(row["added"] for row in taken[kind, heard, shortest])
        mean = statistics.mean(row["added"] for row in rows)
        least = statistics.quantiles((row["added"] for row in rows), n=10)[0]
        added = medians["added"]
        figures = " ".join(f"{figure:>8.0f}" for figure in (*medians.values(), least, mean))
        ratios = f"{added / yard:>6.2f} {added / BUDGET_US:>8.2f}x {added / first:>6.2f}x"
        print(f"{kind:6} {heard:>5} {history:>7} {figures} {ratios}")


if __name__ == "__main__":
    main()
