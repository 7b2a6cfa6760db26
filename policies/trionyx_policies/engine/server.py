"""One OPA server process and the connection to it: started, asked, killed. Restarting is its owner's affair."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import anyio
import anyio.abc
from opa_client.opa_async import AsyncOpaClient  # type: ignore[import-untyped]  # ships no types

from trionyx_policies.errors import EngineError

_START_S: Final = 15.0
_MAX_RESPONSE: Final = 2 << 20
_IDLE_MB: Final = 256  # data memory that an idle server maps, most of it never touched
_RESIDENT_MB: Final = 64  # what it really uses
_CHILD: Final = Path(__file__).with_name("child.py")


class ServerDied(Exception):
    """The connection broke, or was refused."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How to run the child.

    Args:
        opa: the executable.
        directory: private to this user; holds socket and log.
        archive: the bundle to serve.
        memory_mb: what evaluations may use beyond the idle server, MiB.
    """

    opa: Path
    directory: Path
    archive: Path
    memory_mb: int


class Server:
    """A running child that serves one bundle."""

    def __init__(self, process: anyio.abc.Process, client: _Client) -> None:
        self._process = process
        self._client = client

    @classmethod
    async def start(cls, settings: ServerSettings) -> Server:
        """Start a child and wait until it serves.

        Raises:
            EngineError: it ends or stays silent instead.
        """
        place = Path(tempfile.mkdtemp(dir=settings.directory))
        socket, log = place / "s", place / "log"
        memory = (settings.memory_mb + _IDLE_MB) << 20
        command = [sys.executable, "-I", "-S", "-B", str(_CHILD), str(os.getpid()), str(memory)]
        command += [str(settings.opa.resolve()), "run", "--server", "--addr", f"unix://{socket}"]
        command += ["--log-level", "error", "--skip-version-check", "--bundle", str(settings.archive)]
        environment = {
            "HOME": str(place),
            "PATH": "/nonexistent",
            "GOMEMLIMIT": f"{settings.memory_mb + _RESIDENT_MB}MiB",
            "GOTRACEBACK": "none",
        }
        with log.open("wb") as output:
            process = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=place,
                start_new_session=True,
            )
        server = cls(process, _Client(socket))
        try:
            if not await server._serves():
                raise EngineError(f"opa does not start: {_last_line(log)}")
        except BaseException:
            server.kill()
            await server.aclose()
            raise
        return server

    @property
    def pid(self) -> int:
        """Process id of the child."""
        return self._process.pid

    async def ask(self, path: str, document: bytes) -> tuple[int, bytes]:
        """Evaluate one rule with strict built-in errors and provenance.

        Args:
            path: of the rule, `trionyx/main/decision`; never taken from a caller's data.
            document: the input's JSON text.

        Returns:
            HTTP status and body.

        Raises:
            ServerDied: there is no whole response.
        """
        return await self._client.ask(path, document)

    async def ended(self) -> None:
        """Wait until the child has ended."""
        await self._process.wait()

    def kill(self) -> None:
        """Kill the child, even one that is stopped."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)

    async def aclose(self) -> None:
        """Kill the child, wait for its end and close the connection."""
        with anyio.CancelScope(shield=True):
            self.kill()
            await self._process.wait()
            await self._client.close_connection()

    async def _serves(self) -> bool:
        """Wait for the first healthy answer; False when the child ends or the time is over."""
        healthy = False

        async def poll() -> None:
            nonlocal healthy
            while not await self._client.check_health():
                await anyio.sleep(0.005)
            healthy = True
            group.cancel_scope.cancel()

        await self._client._init_session()
        with anyio.move_on_after(_START_S):
            async with anyio.create_task_group() as group:
                group.start_soon(poll)
                await self._process.wait()
                group.cancel_scope.cancel()
        return healthy


class _Client(AsyncOpaClient):  # type: ignore[misc]  # its base ships no types
    """The async client over a unix socket, with the request's and the response's bytes left alone.

    `retries=0`: the client would repeat every failed evaluation, and wait before it.
    """

    def __init__(self, socket: Path) -> None:
        super().__init__(host="localhost", retries=0, timeout=None)
        self._socket = socket

    async def _init_session(self) -> None:
        self._connector = aiohttp.UnixConnector(path=str(self._socket))
        self._session = aiohttp.ClientSession(connector=self._connector)

    async def ask(self, path: str, document: bytes) -> tuple[int, bytes]:
        url = f"{self.root_url}/data/{path}?strict-builtin-errors=true&provenance=true"
        body = b'{"input":' + document + b"}"
        headers = {"Content-Type": "application/json"}
        try:
            async with self._request("POST", url, data=body, headers=headers) as response:
                content = bytearray()
                async for chunk in response.content.iter_any():
                    content += chunk
                    if len(content) > _MAX_RESPONSE:
                        raise ServerDied("opa's response is too large")
                return response.status, bytes(content)
        except (aiohttp.ClientError, OSError) as error:
            raise ServerDied(f"the opa child broke the connection ({type(error).__name__})") from None


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it says nothing"
