"""A signal is kept whenever it comes: before the watch, at any step of it, after it, in blocking work."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress

import anyio.lowlevel
import pytest

from trionyx_agents.errors import Interrupted
from trionyx_agents.interruption import WATCHED, Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    with Interruption() as entered:
        yield entered


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


async def watched(interruption: Interruption, steps: Sequence[signal.Signals | None] = ()) -> int:
    """Converse: one signal, or none, per step; return how many steps were made before the end."""
    made = 0
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            await group.start(interruption.watch)
            with interruption.scope:
                for step in steps:
                    if step is not None:
                        send(step)
                    await anyio.lowlevel.checkpoint()
                    made += 1
                await anyio.sleep_forever()
            group.cancel_scope.cancel()
    return made


@pytest.mark.parametrize("sent", WATCHED)
def test_a_signal_before_the_watch_ends_the_conversation(
    interruption: Interruption, sent: signal.Signals
) -> None:
    send(sent)
    assert anyio.run(watched, interruption) == 0
    assert interruption.signal is sent


@pytest.mark.parametrize("before", range(4))
def test_a_signal_at_any_step_ends_the_conversation(interruption: Interruption, before: int) -> None:
    made = anyio.run(watched, interruption, [*[None] * before, signal.SIGTERM])
    assert made >= before
    assert interruption.signal is signal.SIGTERM


def test_a_second_signal_does_not_wait_for_the_runtime(interruption: Interruption) -> None:
    asked = 0

    async def ask() -> None:
        nonlocal asked
        asked += 1
        send(signal.SIGTERM)
        await anyio.sleep_forever()

    interruption.interrupt = ask
    anyio.run(watched, interruption, [signal.SIGINT])
    assert (asked, interruption.signal) == (1, signal.SIGINT)


@pytest.mark.parametrize("sent", WATCHED)
def test_a_signal_breaks_blocking_work(interruption: Interruption, sent: signal.Signals) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Interrupted) as caught, interruption.breaking():
        send(sent)
        ours.recv(1)
    assert caught.value.signal is sent


def test_a_signal_waits_for_the_next_blocking_work_and_a_second_one_does_not(
    interruption: Interruption,
) -> None:
    send(signal.SIGTERM)
    with pytest.raises(Interrupted), interruption.breaking():
        pytest.fail("the block began")
    with pytest.raises(Interrupted) as caught:
        send(signal.SIGINT)
    assert caught.value.signal is signal.SIGTERM


def test_a_signal_that_the_block_loses_is_found_at_its_end(interruption: Interruption) -> None:
    with pytest.raises(Interrupted), interruption.breaking():
        with suppress(BaseException):  # as what runs in a finalizer
            send(signal.SIGINT)


def test_what_stood_before_stands_again() -> None:
    before = [signal.signal(number, signal.SIG_IGN) for number in WATCHED]
    try:
        with Interruption() as interruption:
            send(signal.SIGINT)
            assert interruption.signal is signal.SIGINT
        assert [signal.getsignal(number) for number in WATCHED] == [signal.SIG_IGN] * len(WATCHED)
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        for number, handler in zip(WATCHED, before, strict=True):
            signal.signal(number, handler)
