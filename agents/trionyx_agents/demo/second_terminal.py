"""The person at the second terminal: sees with the real command what the agent asks, and answers it there.

The person says yes to one thing, a short answer to the parcel service, and no to whatever else is asked.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trionyx_agents.demo.world import PARCEL
from trionyx_agents.events import Answered, Called, Event
from trionyx_agents.launcher import find_command

GLANCE_S = 0.4
"""A call that is open at two glances in a row may be waiting for a person."""

COMMAND_TIMEOUT_S = 30.0
MAX_ANSWER_CHARS = 200


@dataclass(frozen=True, slots=True)
class Typed:
    """One command at the second terminal.

    Args:
        words: what follows `trionyx-proxy approvals`, without the configuration.
        code: exit code.
        lines: what it printed.
    """

    words: tuple[str, ...]
    code: int
    lines: tuple[str, ...]


class SecondTerminal:
    """A context manager; while it is entered, somebody sits there. `typed` holds what was done.

    Args:
        config: the proxy's configuration file.
    """

    def __init__(self, config: Path) -> None:
        self.typed: tuple[Typed, ...] = ()
        self._config = config
        self._command = find_command("trionyx-proxy")
        # As it is now: it is another one while the agent's runtime is being started.
        self._environment = dict(os.environ)
        self._open: frozenset[str] = frozenset()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._sit, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leaving.set()
        self._thread.join()

    def notice(self, event: Event) -> None:
        """Take note of what the agent's runtime reports: a call begins, a call ends."""
        match event:
            case Called(call=call):
                self._open |= {call}
            case Answered(call=call):
                self._open -= {call}

    def _sit(self) -> None:
        before: frozenset[str] = frozenset()
        while not self._leaving.wait(GLANCE_S):
            now = self._open
            if now & before:
                self._look()
            before = now

    def _look(self) -> None:
        listed = self._type("list")
        if listed.code:
            self.typed += (listed,)
            self._leaving.set()
            return
        for line in listed.lines:
            question = line.split()[0]
            shown = self._type("show", question)
            detail = _detail(self._type("show", question, "--json"))
            if self._leaving.is_set():
                return  # the agent is gone, and so is whoever sat here
            answer = self._type("approve" if is_wanted(detail) else "reject", question)
            self.typed += (listed, shown, answer)

    def _type(self, *words: str) -> Typed:
        try:
            done = subprocess.run(
                [self._command, "approvals", *words, "--config", str(self._config)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                timeout=COMMAND_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Typed(words, 2, (str(error),))
        return Typed(words, done.returncode, tuple((done.stdout + done.stderr).splitlines()))


def is_wanted(detail: Mapping[str, Any]) -> bool:
    """Tell whether the person says yes: a short mail to the parcel service alone, as the user asked for.

    Args:
        detail: what `approvals show --json` prints.
    """
    if detail.get("tool") != "mail__send":
        return False
    arguments = json.loads(detail["arguments"])
    words = f"{arguments['subject']} {arguments['body']}"
    return arguments["to"] == [PARCEL] and len(words) <= MAX_ANSWER_CHARS


def _detail(typed: Typed) -> Mapping[str, Any]:
    if typed.code or len(typed.lines) != 1:
        return {}
    value: dict[str, Any] = json.loads(typed.lines[0])
    return value
