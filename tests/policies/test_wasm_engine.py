"""The sandbox against policies that are evil: they hang, eat memory, recurse, answer nonsense, and are survived.

The modules are written by hand in WebAssembly text; to the engine they look like something that OPA compiled.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel
import pytest
import wasmtime
from opapywasm.runtime import WasmtimeRuntimeFactory

from trionyx_policies.bundle import Bundle
from trionyx_policies.decision import Outcome
from trionyx_policies.engine import EngineSettings, wasm
from trionyx_policies.engine.wasm import Sandbox, WasmEngine
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError
from trionyx_policies.point import PolicyPoint

pytestmark = [pytest.mark.anyio, pytest.mark.guarantee("G13")]

SETTINGS = EngineSettings(deadline_ms=100, memory_mb=8)
PATIENT = EngineSettings(deadline_ms=2_000, memory_mb=8)
HELD_S = 0.25  # far more than the event loop is held, for a busy machine; far less than the deadline
ENDED_S = 1.9  # far more than the deadline, for a busy machine; less than an engine that adds seconds to it
LONG = b" " * 3000  # the evil modules misbehave on inputs longer than this

_MODULE = """
(module
  (import "env" "memory" (memory 2))
  (import "env" "opa_abort" (func $abort (param i32)))
  (global (export "opa_wasm_abi_version") i32 (i32.const 1))
  (global (export "opa_wasm_abi_minor_version") i32 (i32.const 3))
  (data (i32.const 1024) "{\\"ENTRYPOINT\\":0}\\00")
  (data (i32.const 2048) "BUILTINS\\00")
  (data (i32.const 3072) "opa_malloc: failed\\00")
  (data (i32.const 3584) "flow.rego:1:1: var assignment conflict\\00")
  (data (i32.const 4096) "ANSWER\\00")
  (func $forever (loop (br 0)))
  (func $recurse (call $recurse) (call $recurse))
  (func $eat (loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1))
    (then (call $abort (i32.const 3072)))) (br 0)))
  (func $conflict (call $abort (i32.const 3584)))
  (func $stop unreachable)
  (func $slow (local i32) (loop (local.set 0 (i32.add (local.get 0) (i32.const 1)))
    (br_if 0 (i32.lt_u (local.get 0) (i32.const 40000000)))))
  (func $fine)
  (func (export "opa_malloc") (param i32) (result i32) (i32.const 32768))
  (func (export "opa_free") (param i32))
  (func (export "opa_json_parse") (param i32 i32) (result i32) (call LOADING) (i32.const 1))
  (func (export "opa_json_dump") (param i32) (result i32) (local.get 0))
  (func (export "opa_heap_ptr_get") (result i32) (i32.const HEAP))
  (func (export "opa_heap_ptr_set") (param i32))
  (func (export "entrypoints") (result i32) (i32.const 1024))
  (func (export "builtins") (result i32) (i32.const 2048))
  (func (export "opa_eval") (param i32 i32 i32 i32 i32 i32 i32) (result i32)
    (if (i32.gt_u (local.get 4) (i32.const 3000)) (then (call EVALUATING)))
    (i32.const RESULT)))
"""


def evil(
    bundle: Bundle,
    evaluating: str = "$fine",
    *,
    answer: str = '[{"result":1}]',
    loading: str = "$fine",
    entrypoint: str = "trionyx/main/decision",
    builtins: str = "{}",
    result: int = 4096,
    heap: int = 65536,
) -> Bundle:
    text = _MODULE
    for name, word in {
        "ENTRYPOINT": entrypoint,
        "BUILTINS": builtins.replace('"', '\\"'),
        "ANSWER": answer.replace('"', '\\"'),
        "LOADING": loading,
        "EVALUATING": evaluating,
        "RESULT": str(result),
        "HEAP": str(heap),
    }.items():
        text = text.replace(name, word)
    # These modules have one fixed place for whatever they are given; what they would decide by is no matter.
    return replace(bundle, wasm=bytes(wasmtime.wat2wasm(text)), data={"trionyx": {}})


async def answer_or_none(engine: WasmEngine) -> bytes | None:
    try:
        return await engine.evaluate(b"{}")
    except EvaluationError as error:
        assert error.code is EvaluationCode.TIMEOUT
        return None


async def code_of(engine: WasmEngine, document: bytes) -> EvaluationCode:
    with pytest.raises(EvaluationError) as caught:
        await engine.evaluate(document)
    return caught.value.code


@pytest.mark.parametrize(
    ("evaluating", "code"),
    [
        ("$forever", EvaluationCode.TIMEOUT),
        ("$eat", EvaluationCode.MEMORY),
        ("$recurse", EvaluationCode.CRASH),
        ("$stop", EvaluationCode.CRASH),
        ("$conflict", EvaluationCode.BUILTIN_ERROR),
    ],
)
async def test_an_evil_evaluation_ends_and_the_next_one_is_fine(
    bundle: Bundle, evaluating: str, code: EvaluationCode
) -> None:
    engine = await WasmEngine.start(evil(bundle, evaluating), SETTINGS)
    try:
        for _ in range(3):
            begun = time.monotonic()
            assert await code_of(engine, LONG + b"{}") is code
            assert time.monotonic() - begun < ENDED_S
            assert await engine.evaluate(b"{}") == b"1"
    finally:
        await engine.aclose()


async def test_the_event_loop_goes_on_while_a_policy_hangs(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle, "$forever"), SETTINGS)
    steps = 0
    try:
        hanging = asyncio.ensure_future(code_of(engine, LONG + b"{}"))
        while not hanging.done():
            await anyio.lowlevel.checkpoint()
            steps += 1
        assert await hanging is EvaluationCode.TIMEOUT
    finally:
        await engine.aclose()
    assert steps > 10


async def test_a_hang_on_the_event_loop_is_ended_soon_and_decided_by_a_worker(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wasm, "_INLINE_PAUSE_S", 60.0)
    engine = await WasmEngine.start(evil(bundle, "$forever"), SETTINGS)
    try:
        assert engine.evaluate_now(b"{}") == b"1"
        begun = time.monotonic()
        assert engine.evaluate_now(LONG + b"{}") is None
        assert time.monotonic() - begun < HELD_S
        assert await code_of(engine, LONG + b"{}") is EvaluationCode.TIMEOUT
        for _ in range(2):
            assert await engine.evaluate(b"{}") == b"1"
        assert engine.evaluate_now(b"{}") is None  # both sandboxes are sound again, but the loop is spared
    finally:
        await engine.aclose()


async def test_what_is_merely_slow_is_answered_by_a_worker(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle, "$slow"), PATIENT)
    try:
        assert engine.evaluate_now(LONG + b"{}") is None
        assert await engine.evaluate(LONG + b"{}") == b"1"
    finally:
        await engine.aclose()


async def test_after_a_pause_the_event_loop_is_used_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wasm, "_INLINE_PAUSE_S", 0.0)
    engine = await WasmEngine.start(evil(bundle, "$forever"), PATIENT)
    try:
        for _ in range(3):
            assert engine.evaluate_now(LONG + b"{}") is None
            assert engine.evaluate_now(b"{}") is None  # the sandbox is spoilt, and mended by a worker only
            for _ in range(2):
                assert await engine.evaluate(b"{}") == b"1"
            assert engine.evaluate_now(b"{}") == b"1"
    finally:
        await engine.aclose()


@pytest.mark.parametrize(
    ("evaluating", "code"),
    [
        ("$eat", EvaluationCode.MEMORY),
        ("$recurse", EvaluationCode.CRASH),
        ("$stop", EvaluationCode.CRASH),
        ("$conflict", EvaluationCode.BUILTIN_ERROR),
    ],
)
async def test_what_fails_at_once_fails_on_the_event_loop_too(
    bundle: Bundle, evaluating: str, code: EvaluationCode
) -> None:
    engine = await WasmEngine.start(evil(bundle, evaluating), PATIENT)
    try:
        with pytest.raises(EvaluationError) as caught:
            engine.evaluate_now(LONG + b"{}")
        assert caught.value.code is code
        assert await engine.evaluate(b"{}") == b"1"
    finally:
        await engine.aclose()


async def test_nothing_is_tried_at_once_that_may_take_long(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle), PATIENT)
    hasty = await WasmEngine.start(evil(bundle), replace(PATIENT, deadline_ms=10))
    try:
        assert engine.evaluate_now(b" " * (wasm.INLINE_BYTES - 2) + b"{}") == b"1"
        assert engine.evaluate_now(b" " * (wasm.INLINE_BYTES - 1) + b"{}") is None
        assert hasty.evaluate_now(b"{}") is None
    finally:
        await engine.aclose()
        await hasty.aclose()
    assert engine.evaluate_now(b"{}") is None


async def test_an_input_beyond_the_first_memory_is_given_room(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle), SETTINGS)
    try:
        assert await engine.evaluate(b" " * (1 << 20) + b"{}") == b"1"
    finally:
        await engine.aclose()


async def test_an_input_for_which_there_is_no_room_is_refused(bundle: Bundle) -> None:
    # All but one MiB of the cap is taken before the policy's heap begins.
    policy = evil(bundle, heap=7 << 20)
    engine = await WasmEngine.start(policy, SETTINGS)
    try:
        assert await code_of(engine, b" " * (2 << 20)) is EvaluationCode.MEMORY
        assert await engine.evaluate(b"{}") == b"1"
    finally:
        await engine.aclose()


async def test_a_heap_outside_the_memory_is_refused(bundle: Bundle) -> None:
    with pytest.raises(EngineError):
        await WasmEngine.start(evil(bundle, heap=-8), SETTINGS)


async def test_one_hanging_evaluation_does_not_fail_another(bundle: Bundle) -> None:
    factory = WasmtimeRuntimeFactory(evil(bundle, "$slow").wasm, max_memory_pages=128)
    late, slow = Sandbox(factory, b"{}"), Sandbox(factory, b"{}")
    try:
        with ThreadPoolExecutor(1) as thread:
            evaluation = thread.submit(slow.evaluate, LONG + b"{}")
            for _ in range(3):
                wait([evaluation], timeout=0.01)
                late.interrupt()
            assert evaluation.result() == b"1"
    finally:
        late.close()
        slow.close()
        factory.close()


async def test_who_waits_too_long_for_a_sandbox_is_denied_too(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle, "$forever"), SETTINGS)
    begun = time.monotonic()
    try:
        codes = await asyncio.gather(*(code_of(engine, LONG + b"{}") for _ in range(60)))
    finally:
        await engine.aclose()
    assert set(codes) == {EvaluationCode.TIMEOUT}
    assert time.monotonic() - begun < ENDED_S, "two at a time, each up to its deadline, would take 3 s"


async def test_a_caller_that_goes_away_leaves_no_sandbox_in_use(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle, "$forever"), SETTINGS)
    try:
        for _ in range(4):
            with anyio.move_on_after(0.01), contextlib.suppress(EvaluationError):
                await engine.evaluate(LONG + b"{}")
        with anyio.fail_after(5):
            while await answer_or_none(engine) is None:
                pass
    finally:
        await engine.aclose()
    assert await code_of(engine, b"{}") is EvaluationCode.CRASH


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ("[]", EvaluationCode.UNDEFINED),
        ("{}", EvaluationCode.ILL_TYPED),
        ("", EvaluationCode.ILL_TYPED),
        ('[{"result":1},{"result":2}]', None),
        ('[{"result":{"allow":[],"allow":[]}}]', None),
    ],
)
async def test_a_result_set_has_one_shape(bundle: Bundle, answer: str, code: EvaluationCode | None) -> None:
    engine = await WasmEngine.start(evil(bundle, answer=answer), SETTINGS)
    try:
        if code is None:  # handed on; the answer's parser refuses it
            with pytest.raises(EvaluationError):
                await PolicyPoint.start(evil(bundle, answer=answer), SETTINGS)
                pytest.fail("an ill-formed answer was taken")
        else:
            assert await code_of(engine, b"{}") is code
    except EngineError:
        pass
    finally:
        await engine.aclose()


@pytest.mark.parametrize("result", [-1, 0, 2**31 - 1])
async def test_an_answer_beyond_the_memory_is_none(bundle: Bundle, result: int) -> None:
    engine = await WasmEngine.start(evil(bundle, result=result), SETTINGS)
    try:
        assert await code_of(engine, b"{}") in {EvaluationCode.CRASH, EvaluationCode.ILL_TYPED}
    finally:
        await engine.aclose()


async def test_an_input_that_does_not_fit_is_refused(bundle: Bundle) -> None:
    engine = await WasmEngine.start(evil(bundle), SETTINGS)
    try:
        assert await code_of(engine, b" " * (3 << 20)) is EvaluationCode.CRASH
        assert await engine.evaluate(b"{}") == b"1"
    finally:
        await engine.aclose()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (
            {"builtins": '{"http.send":0}'},
            "build/policy.wasm: needs built-in http.send, which no engine offers",
        ),
        (
            {"entrypoint": "trionyx/main/allow"},
            "build/policy.wasm: its one entrypoint must be trionyx/main/decision",
        ),
    ],
)
async def test_a_policy_that_wants_more_is_refused(bundle: Bundle, words: dict[str, Any], meant: str) -> None:
    with pytest.raises(BundleError) as caught:
        await WasmEngine.start(evil(bundle, **words), SETTINGS)
    assert caught.value.problems == (meant,)


@pytest.mark.parametrize("code", [b"", b"\0asm\1\0\0\0", b"MZ"])
async def test_what_is_no_policy_is_refused(bundle: Bundle, code: bytes) -> None:
    with pytest.raises(BundleError):
        await WasmEngine.start(replace(bundle, wasm=code), SETTINGS)


async def test_data_that_does_not_fit_is_refused_at_start(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="does not load within 8 MiB"):
        await WasmEngine.start(evil(bundle, loading="$eat"), SETTINGS)


async def test_a_policy_that_answers_nonsense_does_not_start(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match="does not answer: ill_typed"):
        await PolicyPoint.start(evil(bundle), SETTINGS)


async def test_a_call_that_killed_twice_is_not_tried_again(
    bundle: Bundle, document: Callable[..., bytes]
) -> None:
    probe_answer = (
        '{"schema":"trionyx.decision/v1","deny":[],"approve":[],"allow":[],"oblige":[],"label":[],'
        f'"packs":{json.dumps(bundle.packs)}}}'
    )
    policy = evil(bundle, "$forever", answer=f'[{{"result":{probe_answer}}}]')
    point = await PolicyPoint.start(policy, SETTINGS)
    codes = []
    try:
        for calls in range(3):  # the run's counters rise; it is the same call all the same
            killing = document(
                "mail.list", args={"x": "y" * 3000}, args_sha256="1" * 64, run={"calls": calls}
            )
            with pytest.raises(EvaluationError) as caught:
                await point.decide(killing)
            codes.append(caught.value.code)
        other = await point.decide(document("mail.list", args_sha256="2" * 64))
    finally:
        await point.aclose()
    assert codes == [EvaluationCode.TIMEOUT, EvaluationCode.TIMEOUT, EvaluationCode.BREAKER]
    assert other.outcome is Outcome.DENY
