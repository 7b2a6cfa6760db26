"""The OPA engine: a real OPA server as a supervised child, asked through opa-python-client.

The child hears on a unix socket in a directory that only this user can enter, gets an environment of its own,
dies with its parent, and is killed when an answer is late. It is restarted with back-off; calls that arrive
meanwhile wait for it, at most their deadline.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final, cast

import anyio
import anyio.to_thread

from trionyx_policies.bundle import ENTRYPOINT, Bundle, data_document
from trionyx_policies.compiler import check_sources
from trionyx_policies.document import DocumentError, Json, parse
from trionyx_policies.engine import EngineSettings
from trionyx_policies.engine.server import Server, ServerDied, ServerSettings
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError
from trionyx_policies.toolchain import find_opa, opa_archive

_FIRST_DELAY_S: Final = 0.05
_LONGEST_DELAY_S: Final = 5.0
_STABLE_S: Final = 5.0
_ARCHIVE: Final = "bundle.tar.gz"


class OpaEngine:
    """Evaluates in an OPA server child."""

    def __init__(self, settings: ServerSettings, server: Server, revision: str, deadline_s: float) -> None:
        self._settings = settings
        self._server = server
        self._revision = revision
        self._deadline_s = deadline_s
        self._ready = asyncio.Event()
        self._ready.set()
        self._supervisor = asyncio.create_task(self._supervise())

    @classmethod
    async def start(cls, bundle: Bundle, settings: EngineSettings) -> OpaEngine:
        """Check the bundle's sources with OPA and start the child.

        Raises:
            BundleError: OPA refuses the sources.
            EngineError: there is no usable OPA, or it does not start.
        """
        scratch = Path(tempfile.mkdtemp(prefix="trionyx-opa-"))
        try:
            opa = await anyio.to_thread.run_sync(find_opa, settings.opa_command)
            problems = await anyio.to_thread.run_sync(_prepare, bundle, opa, scratch)
            if problems:
                raise BundleError(tuple(problems))
            child = ServerSettings(opa, scratch, scratch / _ARCHIVE, settings.memory_mb)
            server = await Server.start(child)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return cls(child, server, bundle.digest, settings.deadline_ms / 1000)

    def evaluate_now(self, document: bytes) -> bytes | None:
        """See `Engine.evaluate_now`; a child has to be waited for."""
        return None

    async def evaluate(self, document: bytes) -> bytes:
        """See `Engine.evaluate`; waiting for a restarting child counts against the deadline."""
        deadline = anyio.current_time() + self._deadline_s
        with anyio.move_on_at(deadline):
            await self._ready.wait()
        if not self._ready.is_set():
            raise EvaluationError(EvaluationCode.CRASH, "the opa child is not running")
        server = self._server
        try:
            with anyio.fail_after(deadline - anyio.current_time()):
                status, body = await server.ask(ENTRYPOINT, document)
        except TimeoutError:
            self._discard(server)
            raise EvaluationError(EvaluationCode.TIMEOUT, "killed at the deadline", fatal=True) from None
        except ServerDied as error:
            self._discard(server)
            raise EvaluationError(EvaluationCode.CRASH, str(error), fatal=True) from None
        return self._answer(server, status, body)

    async def aclose(self) -> None:
        """Kill the child and remove its files."""
        self._ready.clear()
        self._supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._supervisor
        await self._server.aclose()
        shutil.rmtree(self._settings.directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id of the present child; for the operator and for tests that stop or kill it."""
        return self._server.pid

    def _answer(self, server: Server, status: int, body: bytes) -> bytes:
        try:
            response = parse(body)
        except DocumentError as error:
            raise EvaluationError(EvaluationCode.ILL_TYPED, f"opa's response: {error}") from None
        if status != 200:
            raise _refusal(status, response)
        if _revisions(response) != [self._revision]:
            self._discard(server)
            raise EvaluationError(EvaluationCode.DRIFT, "another policy answered than the one loaded")
        members = cast("dict[str, Json]", response)
        if "result" not in members:
            raise EvaluationError(EvaluationCode.UNDEFINED, "the policy is undefined for this input")
        return json.dumps(members["result"], separators=(",", ":")).encode()

    def _discard(self, server: Server) -> None:
        """Kill a child that can no longer be trusted; the supervisor sees it end and starts another."""
        if server is self._server:
            self._ready.clear()
        server.kill()

    async def _supervise(self) -> None:
        delay = 0.0
        while True:
            born = time.monotonic()
            await self._server.ended()
            self._ready.clear()
            await self._server.aclose()
            stable = time.monotonic() - born >= _STABLE_S
            delay = 0.0 if stable else min(max(_FIRST_DELAY_S, delay * 2), _LONGEST_DELAY_S)
            await anyio.sleep(delay)
            # A child that does not start counts as one that ended at once: it ends, and the loop goes on.
            with contextlib.suppress(EngineError):
                self._server = await Server.start(self._settings)
                self._ready.set()


def _prepare(bundle: Bundle, opa: Path, scratch: Path) -> list[str]:
    """Lay out the sources for OPA's check and for the server; both see the bytes that the digest names."""
    for name, content in bundle.files.items():
        path = scratch / "bundle" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    members = {name: text for name, text in bundle.files.items() if name.endswith(".rego")}
    (scratch / _ARCHIVE).write_bytes(opa_archive(members, data_document(bundle), revision=bundle.digest))
    return check_sources(scratch / "bundle", opa)


def _refusal(status: int, response: Json) -> EvaluationError:
    match response:
        case {"errors": [{"code": str(code)}, *_]} if code.startswith("eval_"):
            if code == "eval_cancel_error":
                return EvaluationError(EvaluationCode.TIMEOUT, "opa cancelled the evaluation")
            return EvaluationError(EvaluationCode.BUILTIN_ERROR, f"opa reports {code}")
        case {"code": "invalid_parameter"}:
            return EvaluationError(EvaluationCode.ILL_TYPED, "opa cannot read the input")
        case _:
            return EvaluationError(EvaluationCode.CRASH, f"opa answers with status {status}")


def _revisions(response: Json) -> list[Json]:
    """Name the revisions that the response says it was decided under."""
    match response:
        case {"provenance": {"bundles": dict(bundles)}}:
            return [cast("dict[str, Json]", entry).get("revision") for entry in bundles.values()]
        case _:
            return []
