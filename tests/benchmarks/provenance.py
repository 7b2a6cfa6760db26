"""What provenance adds to one call: `python tests/benchmarks/provenance.py [CALLS]`.

Prints medians in microseconds, for runs with 0, 50, 200 and 800 earlier results of 4 KB; every tenth call wrote
a text of 300 bytes. Each measured call has four arguments (an address from an earlier result, a date, a title, a text)
and returns 4 KB as JSON; half of its texts are the organisation's, half are anybody's. Times are of the thread's own
work, so that other work on the machine counts little; the yardstick tells how fast the machine is.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Mapping
from typing import Any

from trionyx_proxy.arguments import parse
from trionyx_proxy.catalog import ArgumentType, Case, Catalog, Field, Role, ToolEntry, ValueSet
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.provenance import Handles, Index, prompt_words, read_result

HISTORIES = (0, 50, 200, 800)
CLOCK = time.thread_time
KEY = b"k" * 32
PROMPT = (
    "Read the mails of this week and book a lunch with Sarah on May 20th 2024 at 12:30, then send the plan to "
    "jonas@corp.example and to everybody who wrote about the budget. The file is report.docx."
)
_SYLLABLES = "ba ce di fo gu la me ni po ru sa te vi wo ra le ki so tu na".split()


def entry() -> ToolEntry:
    """Describe the tool that is read from: mails, whose senders decide what their bodies are worth."""
    organisation = ValueSet(domains=frozenset({"corp.example"}))
    public, org, system = (Label(rank) for rank in (Integrity.PUBLIC, Integrity.ORG, Integrity.SYSTEM))
    case = (Case("sender", organisation, org),)
    described = Catalog.from_data(
        {"catalog": {"servers": {"mail": {"tools": {"read": {"effect": "read", "args": {}}}}}}}
    ).tool("mail", "read")
    if described is None:
        raise SystemExit("the catalog has no such tool")
    fields: Mapping[tuple[str | None, ...], Field] = {
        ("messages", None, "id"): Field(ArgumentType.ID, system),
        ("messages", None, "sender"): Field(ArgumentType.EMAIL, public, case),
        ("messages", None, "date"): Field(ArgumentType.DATE, system),
        ("messages", None, "size"): Field(ArgumentType.INTEGER, system),
        ("messages", None, "subject"): Field(ArgumentType.TEXT, public, case),
        ("messages", None, "body"): Field(ArgumentType.TEXT, public, case),
    }
    return ToolEntry(
        described.catalog, described.name, described.effect, {}, frozenset(), public, described.clearance, (), (),
        fields, None,
    )  # fmt: skip


def words(random_: random.Random, count: int) -> str:
    """Return so many made-up words."""
    return " ".join("".join(random_.choices(_SYLLABLES, k=random_.randint(1, 4))) for _ in range(count))


def result(random_: random.Random) -> dict[str, Any]:
    """Return a result of about 4 KB: ten mails as JSON in one text block."""
    mails = [
        {
            "id": f"m{random_.randrange(10**9)}",
            "sender": f"{words(random_, 1)}{random_.randrange(10**6)}@{random_.choice(('corp', 'other'))}.example",
            "date": f"2024-05-{random_.randint(1, 31):02}T{random_.randint(0, 23):02}:15",
            "size": random_.randrange(10**5),
            "subject": words(random_, 5),
            "body": words(random_, 38),
        }
        for _ in range(10)
    ]
    return {"content": [{"type": "text", "text": json.dumps({"messages": mails})}], "isError": False}


def grown(history: int, random_: random.Random, tool: ToolEntry) -> tuple[Index, list[str]]:
    """Return the index of a run with so many results behind it, and the addresses that it may trust."""
    index, handles = Index(prompt_words(PROMPT, KEY), KEY), Handles()
    known = ["jonas@corp.example"]
    for number in range(history):
        if number % 10 == 0:
            index.wrote([words(random_, 50)])
        reading = read_result(result(random_), tool, hide=True, relabel=index.relabel, mint=handles.mint)
        index.add(f"c{number}", "mail__read", reading.leaves)
        known += [str(leaf.value) for leaf in reading.leaves if str(leaf.value).endswith("@corp.example")]
    return index, known


def measured(history: int, calls: int) -> tuple[dict[str, float], int]:
    """Return the median microseconds of each step, and the mean size of a result."""
    random_, tool, handles = random.Random(history), entry(), Handles()  # noqa: S311 - figures, not secrets
    index, known = grown(history, random_, tool)
    results = [result(random_) for _ in range(calls)]
    steps: dict[str, list[float]] = {"origin": [], "relabel": [], "read_result": [], "add": [], "all": []}
    for number, received in enumerate(results):
        subject, body = f"Lunch with Sarah {words(random_, 1)}", words(random_, 40)
        sent = [subject]
        begun = CLOCK()
        index.origin(random_.choice(known), ArgumentType.EMAIL, Role.TARGET)
        index.origin("2024-05-20 12:30", ArgumentType.DATE, Role.WHEN)
        index.origin(subject, ArgumentType.TEXT, Role.TITLE)
        index.origin(body, ArgumentType.TEXT, Role.CONTENT)
        judged = CLOCK()
        spent = 0.0

        def relabel(leaves: Any, sent: list[str] = sent) -> Any:
            nonlocal spent
            started = CLOCK()
            labelled = index.relabel(leaves, sent)
            spent = CLOCK() - started
            return labelled

        reading = read_result(received, tool, hide=True, relabel=relabel, mint=handles.mint)
        read = CLOCK()
        index.add(f"d{number}", "mail__read", reading.leaves)
        ended = CLOCK()
        for step, seconds in (
            ("origin", judged - begun),
            ("relabel", spent),
            ("read_result", read - judged - spent),
            ("add", ended - read),
            ("all", ended - begun),
        ):
            steps[step].append(seconds * 1e6)
    size = sum(len(received["content"][0]["text"]) for received in results) // len(results)
    return {step: statistics.median(times) for step, times in steps.items()}, size


def parsing(text: bytes) -> float:
    """Return the microseconds that reading a text as JSON takes, to tell how fast the machine is."""
    begun = CLOCK()
    parse(text)
    return (CLOCK() - begun) * 1e6


def main() -> None:
    """Print one line for each length of history."""
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    random_ = random.Random(1)  # noqa: S311 - figures, not secrets
    texts = [result(random_)["content"][0]["text"].encode() for _ in range(calls)]
    print(f"yardstick: reading the JSON of one result takes {statistics.median(map(parsing, texts)):.0f}us")
    print(
        f"{'results':>8} "
        + " ".join(f"{step:>12}" for step in ("origin", "relabel", "read_result", "add", "all"))
    )
    for history in HISTORIES:
        medians, size = measured(history, calls)
        figures = " ".join(f"{median:>10.0f}us" for median in medians.values())
        print(f"{history:>8} {figures}   (results of {size} bytes)")


if __name__ == "__main__":
    main()
