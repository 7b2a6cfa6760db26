"""The embedded engine: the compiled policy in a WebAssembly sandbox, with a hard deadline and a memory cap.

Needs no OPA. A policy cannot reach anything: no host function is offered to it besides the one by which it
reports its own failure. Interruption is by wasmtime's epochs, moved only when somebody is late.

A decision takes about 0.1 ms, and handing it to a thread and back takes longer than that. So it is first tried in
the event loop's own thread, for a few milliseconds at most (`watch`); what takes longer is evaluated from its start
in a worker thread, where the event loop's timer ends it at the deadline.
"""

from __future__ import annotations

import asyncio
import ctypes
import math
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import anyio
import anyio.to_thread
import wasmtime
from opapywasm import OpaAbortError, OpaMemoryError, OpaWasmError
from opapywasm.abi import OpaAbi, OpaAbiSpec
from opapywasm.memory import MemoryCodec
from opapywasm.runtime import WasmtimeRuntime, WasmtimeRuntimeFactory

from trionyx_policies.bundle import ENTRYPOINT, WASM, Bundle, data_document
from trionyx_policies.engine import EngineSettings
from trionyx_policies.engine.watch import Watch
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError

_SANDBOXES: Final = 2
_PAGE_BYTES: Final = 64 << 10
_PAGES_PER_MB: Final = (1 << 20) // _PAGE_BYTES
_MAX_DATA: Final = 8 << 20
_MAX_INPUT: Final = 2 << 20
_MAX_ANSWER: Final = 1 << 20
_START_S: Final = 10.0

INLINE_BYTES: Final = 32 << 10
"""Longest input that is tried on the event loop; evaluation takes about 40 µs for each KiB."""

_INLINE_DEADLINE_S: Final = 0.05
"""Under a shorter deadline, the milliseconds of a vain try would be too much of it."""

_INLINE_PAUSE_S: Final = 1.0
"""After a vain try nothing more is tried on the event loop for this long: it is held 1 % of the time at most."""


class WasmEngine:
    """Evaluates in sandboxes, at once or in worker threads; a sandbox that failed is thrown away."""

    def __init__(
        self, factory: WasmtimeRuntimeFactory, sandboxes: tuple[Sandbox, ...], deadline_s: float
    ) -> None:
        self._factory = factory
        self._idle = deque(sandboxes)
        self._slots = anyio.Semaphore(len(sandboxes))
        self._threads = ThreadPoolExecutor(len(sandboxes), thread_name_prefix="trionyx-policy")
        self._deadline_s = deadline_s
        self._watch = Watch()
        self._paused_until = math.inf if deadline_s < _INLINE_DEADLINE_S else -math.inf
        self._closed = False

    @classmethod
    async def start(cls, bundle: Bundle, settings: EngineSettings) -> WasmEngine:
        """Compile and instantiate the bundle's policy.

        Raises:
            BundleError: the compiled policy is not one that may run here.
            EngineError: the bundle's data does not fit the memory cap, or loading it does not end.
        """
        pages = settings.memory_mb * _PAGES_PER_MB
        try:
            factory = await anyio.to_thread.run_sync(
                lambda: WasmtimeRuntimeFactory(bundle.wasm, max_memory_pages=pages)
            )
        except OpaWasmError as error:
            raise BundleError((f"{WASM}: {_line(error)}",)) from None
        data = data_document(bundle)
        timer = asyncio.get_running_loop().call_later(_START_S, factory.engine.increment_epoch)
        try:
            sandboxes = await anyio.to_thread.run_sync(
                lambda: tuple(Sandbox(factory, data) for _ in range(_SANDBOXES))
            )
        except (OpaMemoryError, OpaAbortError, wasmtime.Trap) as error:
            raise EngineError(
                f"the policy's data does not load within {settings.memory_mb} MiB: {_line(error)}"
            ) from None
        except OpaWasmError as error:
            raise BundleError((f"{WASM}: {_line(error)}",)) from None
        finally:
            timer.cancel()
        problems = sandboxes[0].problems()
        if problems:
            for sandbox in sandboxes:
                sandbox.close()
            raise BundleError(problems)
        return cls(factory, sandboxes, settings.deadline_ms / 1000)

    def evaluate_now(self, document: bytes) -> bytes | None:
        """See `Engine.evaluate_now`; holds the event loop for 8 ms at most, give or take a scheduling delay."""
        if len(document) > INLINE_BYTES or self._closed or not self._idle:
            return None
        # A sandbox that is idle belongs to no worker, and nothing else runs here until this returns.
        sandbox, loop = self._idle[-1], asyncio.get_running_loop()
        if sandbox.is_spoilt or loop.time() < self._paused_until:
            return None
        self._watch.begin(sandbox.interrupt)
        try:
            answer = sandbox.attempt(document)
        finally:
            self._watch.end()
        if answer is None:
            self._paused_until = loop.time() + _INLINE_PAUSE_S
        return answer

    async def evaluate(self, document: bytes) -> bytes:
        """See `Engine.evaluate`; waiting for a free sandbox counts against the deadline."""
        if self._closed:
            raise EvaluationError(EvaluationCode.CRASH, "the engine is stopped")
        loop = asyncio.get_running_loop()
        late = loop.time() + self._deadline_s
        sandbox = await self._free_sandbox()
        sandbox.rearm()
        timer = loop.call_at(late, sandbox.interrupt)
        evaluation = loop.run_in_executor(self._threads, sandbox.evaluate, document)

        def done(evaluation: asyncio.Future[bytes]) -> None:
            timer.cancel()
            self._idle.append(sandbox)
            self._slots.release()
            evaluation.exception()  # seen here, should nobody wait for it any more

        # INVARIANT: a caller that goes away leaves the evaluation running, to its end or the deadline; only
        # then does the sandbox serve another.
        evaluation.add_done_callback(done)
        return await asyncio.shield(evaluation)

    async def aclose(self) -> None:
        """Wait for what is running, at most one deadline, and free the sandboxes."""
        if self._closed:
            return
        self._closed = True
        for _ in range(_SANDBOXES):
            await self._slots.acquire()
        while self._idle:
            self._idle.popleft().close()
        self._threads.shutdown()
        self._watch.close()
        self._factory.close()

    async def _free_sandbox(self) -> Sandbox:
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(self._deadline_s) as scope:
                await self._slots.acquire()
            if scope.cancelled_caught:
                raise EvaluationError(EvaluationCode.TIMEOUT, "no sandbox became free in time") from None
        return self._idle.popleft()


class Sandbox:
    """One instance of the compiled policy, with the bundle's data in its memory.

    Not for two threads at once, except `interrupt`. Several share a factory and with it one epoch: whoever
    interrupts one traps all that are evaluating, and those that were not meant evaluate again.
    """

    _runtime: WasmtimeRuntime
    _abi: OpaAbi
    _codec: MemoryCodec
    _data_address: int
    _heap: int
    _late: bool = False
    _spoilt: bool = False

    def __init__(self, factory: WasmtimeRuntimeFactory, data: bytes) -> None:
        self._factory = factory
        self._data = data
        self._boot()
        self._demanded = self._codec.decode_builtins()
        self._offered = self._codec.decode_entrypoints()

    def problems(self) -> tuple[str, ...]:
        """List what keeps this policy from being used here."""
        found = [f"{WASM}: needs built-in {name}, which no engine offers" for name in sorted(self._demanded)]
        if list(self._offered) != [ENTRYPOINT]:
            found.append(f"{WASM}: its one entrypoint must be {ENTRYPOINT}")
        return tuple(found)

    @property
    def is_spoilt(self) -> bool:
        """Whether the next evaluation begins with a new instance, which takes milliseconds."""
        return self._spoilt

    def rearm(self) -> None:
        """Forget an interruption that came too late for the evaluation that it was meant for."""
        self._late = False

    def interrupt(self) -> None:
        """End the running evaluation; safe from any thread, at any time."""
        self._late = True
        self._factory.engine.increment_epoch()

    def evaluate(self, document: bytes) -> bytes:
        """Evaluate in the calling thread, until done or interrupted.

        Raises:
            EvaluationError: timeout, memory, crash, builtin_error, undefined, ill_typed, too_large.
        """
        while True:
            try:
                if self._spoilt:
                    self._runtime.close()
                    self._boot()
                answer = self._run(document)
            except (OpaWasmError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
                if _is_interrupt(error) and not self._late:
                    continue
                raise _failure(error) from None
            return _only_result(answer)

    def attempt(self, document: bytes) -> bytes | None:
        """Evaluate once, in an instance that is not spoilt; None when interrupted, whoever was meant.

        Raises:
            EvaluationError: as `evaluate`, but for timeout.
        """
        self.rearm()
        try:
            answer = self._run(document)
        except (OpaWasmError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
            if _is_interrupt(error):
                return None
            raise _failure(error) from None
        except EvaluationError:
            return None  # interrupted before it began
        return _only_result(answer)

    def close(self) -> None:
        """Free the instance."""
        self._runtime.close()

    def _run(self, document: bytes) -> bytes:
        # INVARIANT: an interruption before this line is seen in `_late`, one after it traps the instance.
        self._runtime.set_epoch_deadline(1)
        if self._late:
            raise EvaluationError(EvaluationCode.TIMEOUT, "late before the evaluation began")
        self._spoilt = True  # until the instance is known to have ended well
        scratch = self._put(document)
        result = self._abi.opa_eval(
            self._offered[ENTRYPOINT], self._data_address, self._heap, len(document), scratch
        )
        answer = self._codec.read_cstring(result)
        self._spoilt = False
        return answer

    def _put(self, document: bytes) -> int:
        """Write the input to where the heap begins; return where it goes on from there.

        Without asking the policy for room, as OPA's own SDKs do it since ABI 1.2: each call into it costs as much as
        a tenth of the evaluation.
        """
        if len(document) > _MAX_INPUT:
            raise OpaMemoryError(f"the input has more than {_MAX_INPUT} bytes")
        memory, store = self._runtime.memory, self._runtime.store
        end = self._heap + (len(document) + 7 & ~7)
        missing = end - memory.data_len(store)
        if missing > 0:
            memory.grow(store, -(-missing // _PAGE_BYTES))
        # INVARIANT: `_heap` is not negative and `end` lies within the memory, so this writes nowhere else.
        ctypes.memmove(
            ctypes.addressof(memory.data_ptr(store).contents) + self._heap, document, len(document)
        )
        return end

    def _boot(self) -> None:
        self._spoilt = True
        self._runtime = self._factory.create_runtime()
        self._runtime.set_epoch_deadline(1)
        self._abi = OpaAbi(self._runtime, OpaAbiSpec())
        self._codec = MemoryCodec(
            self._abi,
            max_input_bytes=_MAX_INPUT,
            max_data_bytes=_MAX_DATA,
            max_result_bytes=_MAX_ANSWER,
            max_cstring_scan_bytes=_MAX_ANSWER,
        )
        self._data_address = self._codec.python_to_opa_value(self._data, limit=_MAX_DATA, kind="data")
        self._heap = self._abi.opa_heap_ptr_get()
        if self._heap < 0:
            raise OpaMemoryError("the policy's heap begins nowhere")
        self._spoilt = False


def _failure(error: Exception) -> EvaluationError:
    if _is_interrupt(error):
        return EvaluationError(EvaluationCode.TIMEOUT, "interrupted at the deadline", fatal=True)
    match error:
        case OpaAbortError() if "malloc" in str(error):
            return EvaluationError(EvaluationCode.MEMORY, "the memory cap is reached", fatal=True)
        case OpaAbortError():
            return EvaluationError(EvaluationCode.BUILTIN_ERROR, _line(error))
        case wasmtime.WasmtimeError() if "grow memory" in str(error):
            return EvaluationError(EvaluationCode.MEMORY, "the memory cap is reached", fatal=True)
        case OpaMemoryError() if "NUL" in str(error):
            return EvaluationError(EvaluationCode.TOO_LARGE, f"the answer has more than {_MAX_ANSWER} bytes")
        case _:
            return EvaluationError(EvaluationCode.CRASH, _line(error), fatal=True)


def _is_interrupt(error: Exception) -> bool:
    return isinstance(error, wasmtime.Trap) and error.trap_code == wasmtime.TrapCode.INTERRUPT


def _only_result(results: bytes) -> bytes:
    """Take the one answer out of OPA's result set, `[{"result":…}]`; an empty set means undefined."""
    if results.startswith(b'[{"result":') and results.endswith(b"}]"):
        return results[len(b'[{"result":') : -len(b"}]")]
    if results == b"[]":
        raise EvaluationError(EvaluationCode.UNDEFINED, "the policy is undefined for this input")
    raise EvaluationError(EvaluationCode.ILL_TYPED, "the engine's result set has an unknown shape")


def _line(error: Exception) -> str:
    """Take the first line of a foreign error, without the back-trace that wasmtime adds."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
