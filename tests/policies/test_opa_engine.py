"""The OPA child: stopped, killed, orphaned, exchanged; every way ends in an error in time, and in a new child."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from trionyx_policies.bundle import Bundle
from trionyx_policies.engine import EngineSettings
from trionyx_policies.engine.opa import OpaEngine
from trionyx_policies.errors import BundleError, EvaluationCode, EvaluationError
from trionyx_policies.toolchain import opa_archive
from trionyx_testing.parts import need

pytestmark = [pytest.mark.anyio, pytest.mark.guarantee("G13")]


@pytest.fixture
async def engine(bundle: Bundle) -> AsyncIterator[OpaEngine]:
    engine = await OpaEngine.start(bundle, EngineSettings("opa", deadline_ms=400, opa_command=need("opa")))
    try:
        yield engine
    finally:
        await engine.aclose()


def stop(pid: int) -> None:
    """Stop a process and see that it has stopped: other threads of it may run on for a moment."""
    os.kill(pid, signal.SIGSTOP)
    while "State:\tT" not in Path(f"/proc/{pid}/status").read_text():
        pass


async def code_of(engine: OpaEngine, document: bytes) -> EvaluationCode:
    with pytest.raises(EvaluationError) as caught:
        await engine.evaluate(document)
    return caught.value.code


async def answered(engine: OpaEngine, document: bytes) -> bytes:
    """Ask until there is an answer again; the test's own time limit is the only one."""
    with anyio.fail_after(10):
        while True:
            try:
                return await engine.evaluate(document)
            except EvaluationError as error:
                assert error.code in {EvaluationCode.CRASH, EvaluationCode.TIMEOUT}


async def test_a_stopped_child_is_killed_at_the_deadline_and_replaced(
    engine: OpaEngine, document: Callable[..., bytes]
) -> None:
    first = engine.pid
    stop(first)
    with anyio.fail_after(10):  # the stopped child would never answer
        assert await code_of(engine, document("mail.list")) is EvaluationCode.TIMEOUT
    assert b"CATALOG-100" in await answered(engine, document("mail.list"))
    assert engine.pid != first


async def test_a_killed_child_is_replaced(engine: OpaEngine, document: Callable[..., bytes]) -> None:
    first = engine.pid
    os.kill(first, signal.SIGKILL)
    assert b"CATALOG-100" in await answered(engine, document("mail.list"))
    assert engine.pid != first


async def test_a_call_under_way_when_the_child_dies_is_an_error(
    engine: OpaEngine, document: Callable[..., bytes]
) -> None:
    stop(engine.pid)
    asking = asyncio.ensure_future(code_of(engine, document("mail.list")))
    for _ in range(20):  # enough steps of the loop to send the request
        await anyio.lowlevel.checkpoint()
    os.kill(engine.pid, signal.SIGKILL)
    assert await asking is EvaluationCode.CRASH


async def test_an_answer_of_another_revision_is_drift(
    engine: OpaEngine, bundle: Bundle, document: Callable[..., bytes]
) -> None:
    sources = {name: text for name, text in bundle.files.items() if name.endswith(".rego")}
    archive = opa_archive(sources, b'{"trionyx":{}}', revision="another")
    engine._settings.archive.write_bytes(archive)
    os.kill(engine.pid, signal.SIGKILL)
    with anyio.fail_after(10):
        while (code := await code_of(engine, document("mail.list"))) is not EvaluationCode.DRIFT:
            assert code is EvaluationCode.CRASH


async def test_the_child_sees_an_environment_of_its_own(engine: OpaEngine) -> None:
    environment = Path(f"/proc/{engine.pid}/environ").read_bytes().split(b"\0")
    assert {entry.split(b"=")[0] for entry in environment if entry} == {
        b"HOME",
        b"PATH",
        b"GOMEMLIMIT",
        b"GOTRACEBACK",
    }


async def test_only_this_user_can_reach_the_child(engine: OpaEngine) -> None:
    assert engine._settings.directory.stat().st_mode & 0o077 == 0
    listening = Path(f"/proc/{engine.pid}/net/tcp").read_text().splitlines()[1:]
    inodes = {os.readlink(f"/proc/{engine.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{engine.pid}/fd")}
    assert not [line for line in listening if f"socket:[{line.split()[9]}]" in inodes]


async def test_nothing_is_left_behind(bundle: Bundle) -> None:
    engine = await OpaEngine.start(bundle, EngineSettings("opa", opa_command=need("opa")))
    pid, directory = engine.pid, engine._settings.directory
    await engine.aclose()
    assert not directory.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await code_of(engine, b"{}") is EvaluationCode.CRASH


async def test_sources_that_opa_refuses_do_not_start(bundle: Bundle) -> None:
    files = dict(bundle.files)
    files["policy/packs/flow.rego"] = files["policy/packs/flow.rego"].replace(
        b"input.label.level", b"input.label.levl"
    )
    with pytest.raises(BundleError) as caught:
        await OpaEngine.start(replace(bundle, files=files), EngineSettings("opa", opa_command=need("opa")))
    assert caught.value.problems[0].startswith("policy/packs/flow.rego:")
    assert "undefined ref: input.label.levl" in caught.value.problems[0]


_ORPHAN = """
import sys, anyio
from pathlib import Path
from trionyx_policies.bundle import load_bundle
from trionyx_policies.engine import EngineSettings
from trionyx_policies.engine.opa import OpaEngine

async def main():
    engine = await OpaEngine.start(load_bundle(), EngineSettings("opa", opa_command=Path(sys.argv[1])))
    print(engine.pid, flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


def test_the_child_dies_with_its_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _ORPHAN, str(need("opa"))],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        watch = os.pidfd_open(child)
        parent.kill()
    try:
        ended = asyncio.run(_readable(watch))
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)
    assert ended


async def _readable(descriptor: int) -> bool:
    with anyio.move_on_after(5):
        await anyio.wait_readable(descriptor)
        return True
    return False
