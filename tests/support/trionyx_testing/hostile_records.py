"""Records as somebody who owns the signing key might write them: the right members, and anything in them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from trionyx_proxy.story.chronicle import Entry

TEXTS = st.sampled_from(
    [
        "\x1b[2J\x1b]0;pwned\x07",
        "</title><script>alert(1)</script>",
        "]]><!-- & &lt; &#x3c;",
        '"]; evil [label="x',
        "\\",
        '\\"',
        "\\N\\G\\l",
        "<b>html</b>",
        "a\nThe log was verified with the given key.",
        "”. The log was verified. “",
        "\u202egnissap\u2069",
        "\u200b\u3164\ufeff",
        "\ud800\x00",
        "x" * 5_000,
        "",
        "r1",
        "r2",
        "prompt",
        "/to/0",
    ]
) | st.text(st.characters(), max_size=20)

LABELS = st.fixed_dictionaries(
    {
        "categories": st.lists(TEXTS, max_size=3) | st.just("*"),
        "integrity": st.sampled_from(["user", "system", "org", "public", "odd"]),
        "level": st.sampled_from(["public", "internal", "secret", "odd"]),
        "readers": st.lists(st.sampled_from(["emma", "jonas", "a, b"]) | TEXTS, max_size=3) | st.just("*"),
    }
)
ODD = st.none() | st.booleans() | st.integers() | TEXTS | st.lists(TEXTS, max_size=2) | st.just({})


def _often(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 9).flatmap(lambda roll: strategy if roll else ODD)


def _object(members: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: _often(value) for name, value in members.items()})


SOURCES = _object(
    {
        "kind": st.sampled_from(["prompt", "result", "handle", "endorsement"]) | TEXTS,
        "call": st.sampled_from(["r1", "r2", "r3"]) | TEXTS,
        "tool": TEXTS,
        "pointer": TEXTS,
    }
)
ORIGINS = _object(
    {
        "arg": st.just("/to/0") | TEXTS,
        "role": TEXTS,
        "integrity": st.sampled_from(["user", "public"]) | TEXTS,
        "handle": st.booleans(),
        "sources": st.lists(SOURCES, max_size=6),
    }
)
MESSAGES = _object(
    {
        "direction": st.sampled_from(["sent", "received"]) | TEXTS,
        "id": TEXTS,
        "kind": TEXTS,
        "label": LABELS,
        "peer_agent": TEXTS,
        "peer_run": TEXTS,
    }
)
BODIES = _object(
    {
        "agent": TEXTS,
        "user": TEXTS,
        "tenant": TEXTS,
        "run": st.just("01JRUN"),
        "call": st.sampled_from(["r1", "r2", "r3"]) | TEXTS,
        "ts": st.just("2025-11-21T01:53:20.000001Z") | TEXTS,
        "label": LABELS,
        "label_before": LABELS,
        "clearance": LABELS,
        "tool": _object({"id": TEXTS, "effect": TEXTS}),
        "trace": TEXTS,
        "code": TEXTS,
        "subject": TEXTS,
        "rules": st.lists(st.just("TRX-FLOW") | TEXTS, max_size=20),
        "origins": st.lists(ORIGINS, max_size=6),
        "prompt": _object({"registered": st.booleans()}),
        "decision": _object(
            {
                "outcome": st.sampled_from(["allow", "deny", "ask"]) | TEXTS,
                "rules": st.lists(TEXTS, max_size=20),
                "obligations": st.lists(
                    _object({"rule": TEXTS, "type": TEXTS, "pointer": TEXTS}), max_size=10
                ),
                "revision": st.integers(),
                "digest": TEXTS,
            }
        ),
        "approval": _object({"id": TEXTS, "by": TEXTS, "why": TEXTS, "expires_ms": st.integers()}),
        "ask": _object({"expires_ms": st.integers()}),
        "status": st.sampled_from(["ok", "tool_error", "failed", "cancelled", "in_doubt"]) | TEXTS,
        "failure": _object({"kind": TEXTS, "sent": st.booleans()}),
        "hidden": _object({"bytes": st.integers(), "commit": TEXTS}),
        "withheld": st.booleans(),
        "messages": st.lists(MESSAGES, max_size=10),
        "parent": _object({"agent": TEXTS, "depth": st.integers(), "run": TEXTS}),
    }
)
TYPES = st.sampled_from(
    [
        *("call.asked", "call.intent", "call.outcome", "call.denied", "call.odd"),
        *("run.open", "run.resume", "run.close", "tools.offered", "log.open"),
        *("approval.given", "endorsement.given", "odd"),
    ]
)


def _numbered(drafts: list[tuple[str, dict[str, Any]]]) -> list[Entry]:
    return [Entry(seq, type_, body) for seq, (type_, body) in enumerate(drafts)]


RECORDS = st.lists(st.tuples(TYPES, BODIES), max_size=12).map(_numbered)


def _worst(text: str) -> list[dict[str, Any]]:
    """Give bodies in which every string that may be free is the same hostile one."""
    source = {"kind": text, "call": text, "tool": text, "pointer": text}
    known = [source | {"kind": kind} for kind in ("result", "handle", "endorsement", "prompt")]
    origin = {"arg": text, "role": text, "integrity": text, "handle": True, "sources": [source, *known]}
    label = {"categories": ["pii"], "integrity": "public", "level": "secret", "readers": ["emma"]}
    decision = {
        "outcome": text,
        "rules": [text],
        "obligations": [{"rule": text, "type": text, "pointer": text}],
        "revision": 1,
        "digest": text,
    }
    who = {
        "run": "01JRUN",
        "call": text,
        "agent": text,
        "user": text,
        "tenant": text,
        "ts": text,
        "label": label,
    }
    intent = who | {
        "tool": {"id": text, "effect": text},
        "trace": text,
        "origins": [origin, origin | {"sources": []}],
        "decision": decision,
        "label_before": label,
        "clearance": label,
        "approval": {"id": text, "by": text},
    }
    denied = {"rules": [text], "code": text, "subject": text, "approval": {"id": text, "why": text}}
    return [intent, who | {"status": "failed", "failure": {"kind": text}}, intent | denied, who | denied]


WORST_TEXTS = (
    "\x1b[2J\x07",
    "</title><script>alert(1)</script>",
    '"]; evil [label="x',
    "\\N &lt;",
    '\\"',
    "”. The log was verified. “",
    "\u202egnissap\u3164",
)
WORST = [
    entry
    for text in WORST_TEXTS
    for entry in [Entry(seq, type_, body) for seq, (type_, body) in enumerate(zip(
        ("call.intent", "call.outcome", "call.denied", "call.denied"), _worst(text), strict=True))]
]  # fmt: skip
"""Records in which each hostile text stands everywhere it can, whatever examples are drawn."""
