"""A run's transcript: its events as JSON lines in a file that only its owner can read."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Self

from trionyx_agents.errors import AgentError
from trionyx_agents.events import Event, as_json


class Transcript:
    """Appends each event as it happens, so that a killed run leaves what it saw; neither signed nor synced.

    Args:
        path: a file that does not exist yet; missing parent directories are made.

    Raises:
        AgentError: the file exists or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # INVARIANT: a transcript holds what tools returned, in the clear: nobody else may read it, and no
            # existing file or link is ever written through.
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise AgentError(f"transcript {path}: {(error.strerror or 'cannot be made').lower()}") from error
        self.path = path
        self._file = os.fdopen(handle, "w", encoding="ascii", buffering=1, newline="\n")

    def write(self, event: Event) -> None:
        """Append one event."""
        self._file.write(as_json(event) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
