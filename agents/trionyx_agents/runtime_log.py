"""What a server said on stderr before it failed, dug out of the runtime's private log.

The runtime reports a server that did not start as `Connection closed`; the server's own words are what helps.
"""

from __future__ import annotations

import json
from pathlib import Path

_MARK = "Server stderr:"


def last_words(home: Path, server: str, *, lines: int = 5) -> tuple[str, ...]:
    """Return the last lines of a server's stderr; empty if the runtime kept none.

    Args:
        home: the runtime's private home directory.
        server: the server's name, as the runtime knows it.
        lines: how many at most.
    """
    spoken: list[str] = []
    for log in sorted(home.glob(f".cache/claude-cli-nodejs/*/mcp-logs-{server}/*.jsonl")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the runtime may be in the middle of writing its last line
            for text in (value for value in entry.values() if isinstance(value, str)):
                if text.startswith(_MARK):
                    spoken += (word.strip() for word in text.removeprefix(_MARK).splitlines())
    # A server's structured log is for its operator; what it says in plain words is for whoever started it.
    return tuple(word for word in spoken if word and not word.startswith("{"))[-lines:]
