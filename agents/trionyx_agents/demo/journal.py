"""The journal of a demo server: the only witness of what really happened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"


class Journal:
    """What a server has done, one JSON line per executed call, on disk before the caller hears of it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / JOURNAL

    def add(self, tool: str, arguments: Mapping[str, Any]) -> None:
        """Append one executed call and wait until it is on disk."""
        line = json.dumps({"tool": tool, "arguments": arguments}, ensure_ascii=False).encode() + b"\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """Return all entries; empty if nothing was ever done."""
        if not self.path.exists():
            return []
        return [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
