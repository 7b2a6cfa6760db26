"""A client of the proxy that sees bytes: for hostile lines, exact answers, and processes that die."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from trionyx_testing.workspace import SUPPORT, Workspace

WAIT_S = 20.0
"""Bound on any single wait; a test that reaches it fails."""


def serve_command(workspace: Workspace) -> list[str]:
    return [sys.executable, "-m", "trionyx_proxy.cli", "serve", "--config", str(workspace.config)]


class Client:
    """Speaks JSON-RPC lines over two descriptors."""

    def __init__(self, to_peer: int, from_peer: int) -> None:
        self._to, self._from = to_peer, from_peer
        self._buffer = b""
        self._next = 0
        self.notifications: list[dict[str, Any]] = []

    def send_line(self, line: bytes) -> None:
        """Send bytes as one line; a peer that is gone is not an error here."""
        try:
            os.write(self._to, line + b"\n")
        except BrokenPipeError:
            pass

    def send(self, message: dict[str, Any]) -> None:
        self.send_line(json.dumps({"jsonrpc": "2.0", **message}).encode())

    def line(self) -> bytes | None:
        """Return the next whole line, or None when the peer closed; what it left unfinished is dropped."""
        while b"\n" not in self._buffer:
            if not select.select([self._from], [], [], WAIT_S)[0]:
                raise TimeoutError("the proxy does not answer")
            chunk = os.read(self._from, 65_536)
            if not chunk:
                return None
            self._buffer += chunk
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line

    def answer(self, identity: int | str | None) -> dict[str, Any] | None:
        """Return the answer to a request, collecting notifications on the way; None when the peer closed."""
        while (line := self.line()) is not None:
            message: dict[str, Any] = json.loads(line)
            if "method" in message:
                self.notifications.append(message)
            elif message.get("id") == identity:
                return message
        return None

    def post(self, method: str, params: dict[str, Any] | None = None) -> int:
        """Send a request and return its id without waiting."""
        self._next += 1
        self.send({"id": self._next, "method": method, **({} if params is None else {"params": params})})
        return self._next

    def request(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any] | None:
        return self.answer(self.post(method, params))

    def initialize(self) -> dict[str, Any] | None:
        info = {"name": "test", "version": "1"}
        found = self.request(
            "initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info}
        )
        self.send({"method": "notifications/initialized"})
        return found

    def call(self, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """Call a tool and return its result, or None when the peer closed."""
        answer = self.request("tools/call", {"name": tool, "arguments": arguments})
        return None if answer is None else answer["result"]

    def close(self) -> None:
        for descriptor in {self._to, self._from}:
            os.close(descriptor)


class Served(Client):
    """A real `trionyx-proxy serve` process and a client of it."""

    def __init__(
        self, workspace: Workspace, env: Mapping[str, str] | None = None, *, stderr: int | None = None
    ) -> None:
        whole = {
            "PATH": os.environ["PATH"],
            "HOME": str(workspace.root),
            "PYTHONPATH": str(SUPPORT),
            "CANARY_SECRET": "inherited",
            **(env or {}),
        }
        self.stderr = workspace.root / "stderr.txt"
        with self.stderr.open("ab") as errors:
            self.process = subprocess.Popen(
                serve_command(workspace),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors if stderr is None else stderr,
                env=whole,
                bufsize=0,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        super().__init__(self.process.stdin.fileno(), self.process.stdout.fileno())

    def __enter__(self) -> Served:
        self.initialize()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """Close the proxy's input, wait for its end, return its exit code."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        self.process.kill()
        self.stop()


def text_of(result: dict[str, Any] | None) -> str:
    """Return the text of a result's only block."""
    assert result is not None
    (block,) = result["content"]
    return str(block["text"])


def refused(result: dict[str, Any] | None) -> list[str]:
    """Return the rule ids that a refusal names; fails if the call was carried out."""
    assert result is not None and result["isError"] is True, result
    return [reason["rule"] for reason in result["_meta"]["trionyx/refusal"]]


def repository() -> Path:
    return SUPPORT.parents[1]
