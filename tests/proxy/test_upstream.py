"""Real child processes: what each way of misbehaving costs, and what a child can see."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from trionyx_proxy.core.request import Failure, FailureKind
from trionyx_proxy.pep.upstream import Launch, Upstream

SUPPORT = str(Path(__file__).resolve().parents[1] / "support")


class Lists:
    """Collects the tool lists that an upstream reports, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.seen: list[list[dict[str, Any]]] = []
        self._send, self._receive = anyio.create_memory_object_stream[None](100)

    async def __call__(self, upstream: Upstream, tools: list[dict[str, Any]]) -> None:
        self.seen.append(tools)
        self._send.send_nowait(None)

    async def next(self) -> None:
        await self._receive.receive()

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def running(
    env: Mapping[str, str] | None = None,
    *,
    command: tuple[str, ...] | None = None,
    start_timeout_s: float = 20.0,
) -> AsyncIterator[tuple[Upstream, Lists]]:
    lists = Lists()
    launch = Launch(
        alias="t",
        command=command or (sys.executable, "-m", "trionyx_testing.toolserver"),
        env={"PYTHONPATH": SUPPORT, **(env or {})},
        cwd=None,
        start_timeout_s=start_timeout_s,
    )
    upstream = Upstream(launch, on_listed=lists)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upstream.run)
            with anyio.fail_after(30):
                await upstream.settled.wait()
                yield upstream, lists
            tasks.cancel_scope.cancel()
    finally:
        lists.close()


def scenario(body: Callable[[], Awaitable[None]]) -> None:
    anyio.run(body)


async def call(
    upstream: Upstream, name: str, timeout_s: float = 20.0, **arguments: Any
) -> Mapping[str, Any] | Failure:
    return await upstream.call(name, json.dumps(arguments).encode(), timeout_s=timeout_s, on_progress=None)


def failure(answer: Mapping[str, Any] | Failure) -> tuple[FailureKind, bool]:
    assert isinstance(answer, Failure), answer
    assert "canary" not in answer.detail
    return answer.kind, answer.sent


@pytest.mark.parametrize("era", ["handshake", "modern"])
def test_a_call_is_answered_in_either_protocol_era(era: str) -> None:
    async def body() -> None:
        async with running({"TOOL_ERA": era}) as (upstream, lists):
            assert "echo" in {tool["name"] for tool in lists.seen[0]}
            answer = await call(upstream, "echo", text="hello")
            assert not isinstance(answer, Failure)
            assert answer["content"] == [{"type": "text", "text": "hello"}]

    scenario(body)


@pytest.mark.guarantee("G29")
def test_a_text_that_cannot_be_read_costs_its_own_characters_only() -> None:
    async def body() -> None:
        async with running() as (upstream, lists):
            answer = await call(upstream, "echo", text="one\0two\ud800")
            assert not isinstance(answer, Failure)
            assert answer["content"] == [{"type": "text", "text": "one\ufffdtwo\ufffd"}]
            assert len(lists.seen) == 1

    scenario(body)


@pytest.mark.guarantee("G23")
def test_a_crash_fails_the_call_at_once_and_the_server_comes_back() -> None:
    async def body() -> None:
        async with running() as (upstream, lists):
            await lists.next()
            assert failure(await call(upstream, "crash", text="")) == (FailureKind.CRASHED, True)
            await lists.next()
            while not upstream.is_up:
                await anyio.lowlevel.checkpoint()
            assert not isinstance(await call(upstream, "echo", text="again"), Failure)

    scenario(body)


@pytest.mark.guarantee("G23")
def test_garbage_that_answers_a_call_fails_that_call_only() -> None:
    async def body() -> None:
        async with running() as (upstream, lists):
            assert failure(await call(upstream, "garbage", text="")) == (FailureKind.GARBAGE, True)
            assert not isinstance(await call(upstream, "echo", text="still up"), Failure)
            assert len(lists.seen) == 1

    scenario(body)


@pytest.mark.guarantee("G23")
def test_garbage_without_an_id_ends_the_server_and_every_open_call() -> None:
    async def body() -> None:
        async with running() as (upstream, lists):
            await lists.next()
            answers: list[Mapping[str, Any] | Failure] = []

            async def ask(name: str) -> None:
                answers.append(await call(upstream, name, text=""))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask, "hang")
                tasks.start_soon(ask, "binary_garbage")
            assert [failure(answer) for answer in answers] == [(FailureKind.GARBAGE, True)] * 2
            await lists.next()

    scenario(body)


@pytest.mark.guarantee("G23")
def test_a_hang_ends_at_the_deadline() -> None:
    async def body() -> None:
        async with running() as (upstream, _):
            assert failure(await call(upstream, "hang", timeout_s=0.05, text="")) == (
                FailureKind.TIMEOUT,
                True,
            )
            assert not isinstance(await call(upstream, "echo", text="x"), Failure)

    scenario(body)


def test_an_error_of_the_server_is_not_repeated_in_its_words() -> None:
    async def body() -> None:
        async with running() as (upstream, _):
            assert failure(await call(upstream, "rpc_error")) == (FailureKind.PROTOCOL_ERROR, True)

    scenario(body)


@pytest.mark.guarantee("G23")
@pytest.mark.parametrize("mode", ["exit_at_start", "garbage_at_start", "hang_at_start"])
def test_a_server_that_does_not_start_is_reported_and_calls_are_not_sent(mode: str) -> None:
    async def body() -> None:
        async with running({"TOOL_MODE": mode}, start_timeout_s=0.5) as (upstream, lists):
            assert not upstream.is_up and lists.seen == []
            assert failure(await call(upstream, "echo", text="")) == (FailureKind.UNAVAILABLE, False)

    scenario(body)


@pytest.mark.guarantee("G22")
def test_a_child_sees_the_given_environment_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY_SECRET", "inherited")

    async def body() -> None:
        async with running({"GIVEN": "1"}) as (upstream, _):
            answer = await call(upstream, "environment")
            assert not isinstance(answer, Failure)
            seen = json.loads(answer["content"][0]["text"])
            # LC_CTYPE is set by the child's own interpreter (PEP 538).
            assert seen.keys() - {"LC_CTYPE"} == {"PYTHONPATH", "GIVEN"}

    scenario(body)


def test_progress_arrives_without_its_text() -> None:
    async def body() -> None:
        seen: list[tuple[float, float | None]] = []

        async def note(progress: float, total: float | None) -> None:
            seen.append((progress, total))

        async with running() as (upstream, _):
            answer = await upstream.call("progress", b'{"steps":3}', timeout_s=20, on_progress=note)
            assert not isinstance(answer, Failure)
            assert seen == [(1.0, 3.0), (2.0, 3.0), (3.0, 3.0)]

    scenario(body)


def test_a_withdrawn_call_is_withdrawn_upstream(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    seen = tmp_path / "cancelled"
    script.write_text(
        "import json, sys\n"
        "for line in sys.stdin:\n"
        "    m = json.loads(line)\n"
        "    if m['method'] == 'initialize':\n"
        "        r = {'protocolVersion': '2025-11-25', 'capabilities': {},\n"
        "            'serverInfo': {'name': 's', 'version': '1'}}\n"
        "    elif m['method'] == 'tools/list':\n"
        "        r = {'tools': []}\n"
        "    elif m['method'] == 'tools/call':\n"
        "        print(json.dumps({'jsonrpc': '2.0', 'method': 'notifications/progress',\n"
        "            'params': {'progressToken': m['params']['_meta']['progressToken'], 'progress': 1}}), flush=True)\n"
        "        continue\n"
        "    else:\n"
        "        if m['method'] == 'notifications/cancelled':\n"
        f"            open({str(seen)!r}, 'w').write(str(m['params']['requestId']))\n"
        "            print(json.dumps({'jsonrpc': '2.0', 'method': 'notifications/tools/list_changed'}), flush=True)\n"
        "        continue\n"
        "    print(json.dumps({'jsonrpc': '2.0', 'id': m['id'], 'result': r}), flush=True)\n"
    )

    async def body() -> None:
        async with running(command=(sys.executable, str(script))) as (upstream, lists):
            await lists.next()
            began = anyio.Event()

            async def note(progress: float, total: float | None) -> None:
                began.set()

            async with anyio.create_task_group() as tasks:

                async def ask() -> None:
                    await upstream.call("x", b"{}", timeout_s=20, on_progress=note)

                tasks.start_soon(ask)
                await began.wait()
                tasks.cancel_scope.cancel()
            await lists.next()
            assert seen.read_text().isdigit()

    scenario(body)


def test_leaving_stops_the_child_and_what_it_started(tmp_path: Path) -> None:
    # The child starts a grandchild that holds a pipe open; the pipe ends when the grandchild is gone.
    fifo = tmp_path / "alive"
    import os

    os.mkfifo(fifo)
    wrapper = f"sleep 600 > {fifo} & exec {sys.executable} -m trionyx_testing.toolserver"

    async def body() -> None:
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        async with running({"PATH": "/usr/bin:/bin"}, command=("/bin/sh", "-c", wrapper)) as (upstream, _):
            assert upstream.is_up
        os.set_blocking(reader, True)
        assert await anyio.to_thread.run_sync(os.read, reader, 1) == b""
        os.close(reader)

    scenario(body)
