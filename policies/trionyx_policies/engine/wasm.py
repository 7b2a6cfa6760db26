"""The embedded engine: the compiled policy in a WebAssembly sandbox, with a hard deadline and a memory cap.

Needs no OPA. A policy cannot reach anything: no host function is offered to it besides the one by which it
reports its own failure. Interruption is by wasmtime's epochs: the event loop's timer moves the epoch of the
one sandbox that is late, so there is no ticking thread and no cost while nothing is late.
"""

from __future__ import annotations

import asyncio
from collections import deque
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
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError

_SANDBOXES: Final = 2
_PAGES_PER_MB: Final = 16
_MAX_DATA: Final = 8 << 20
_MAX_INPUT: Final = 2 << 20
_MAX_ANSWER: Final = 1 << 20
_NEVER: Final = 1 << 40


class WasmEngine:
    """Evaluates in worker threads, one sandbox each; a sandbox that failed is thrown away."""

    def __init__(self, sandboxes: deque[Sandbox], deadline_s: float) -> None:
        self._idle = sandboxes
        self._slots = anyio.Semaphore(len(sandboxes))
        self._limiter = anyio.CapacityLimiter(len(sandboxes))
        self._deadline_s = deadline_s
        self._closed = False

    @classmethod
    async def start(cls, bundle: Bundle, settings: EngineSettings) -> WasmEngine:
        """Compile and instantiate the bundle's policy.

        Raises:
            BundleError: the compiled policy is not one that may run here.
            EngineError: the bundle's data does not fit the memory cap.
        """

        def build() -> deque[Sandbox]:
            return deque(Sandbox(bundle, settings.memory_mb) for _ in range(_SANDBOXES))

        return cls(await anyio.to_thread.run_sync(build), settings.deadline_ms / 1000)

    async def evaluate(self, document: bytes) -> bytes:
        """See `Engine.evaluate`; waiting for a free sandbox counts against the deadline."""
        if self._closed:
            raise EvaluationError(EvaluationCode.CRASH, "the engine is stopped")
        loop = asyncio.get_running_loop()
        late = loop.time() + self._deadline_s
        with anyio.move_on_after(self._deadline_s) as scope:
            await self._slots.acquire()
        if scope.cancelled_caught:
            raise EvaluationError(EvaluationCode.TIMEOUT, "no sandbox became free in time")
        sandbox = self._idle.popleft()
        sandbox.rearm()
        timer = loop.call_at(late, sandbox.interrupt)
        try:
            # Not abandoned on cancellation: the sandbox comes back, at the latest at the deadline.
            return await anyio.to_thread.run_sync(sandbox.evaluate, document, limiter=self._limiter)
        finally:
            timer.cancel()
            self._idle.append(sandbox)
            self._slots.release()

    async def aclose(self) -> None:
        """Wait for what is running, at most one deadline, and free the sandboxes."""
        self._closed = True
        for _ in range(len(self._idle)):
            await self._slots.acquire()
        while self._idle:
            self._idle.popleft().close()


class Sandbox:
    """One instance of the compiled policy, with the bundle's data in its memory.

    Not for two threads at once, except `interrupt`.
    """

    _runtime: WasmtimeRuntime
    _abi: OpaAbi
    _codec: MemoryCodec
    _data_address: int
    _heap: int
    _spoilt: bool
    _late: bool = False

    def __init__(self, bundle: Bundle, memory_mb: int) -> None:
        self._data = data_document(bundle)
        try:
            self._factory = WasmtimeRuntimeFactory(bundle.wasm, max_memory_pages=memory_mb * _PAGES_PER_MB)
            self._boot()
            demanded = self._codec.decode_builtins()
            offered = self._codec.decode_entrypoints()
        except (OpaMemoryError, OpaAbortError, wasmtime.Trap) as error:
            raise EngineError(
                f"the policy's data does not fit into {memory_mb} MiB: {_line(error)}"
            ) from None
        except OpaWasmError as error:
            raise BundleError((f"{WASM}: {_line(error)}",)) from None
        problems = [f"{WASM}: needs built-in {name}, which no engine offers" for name in sorted(demanded)]
        if list(offered) != [ENTRYPOINT]:
            problems.append(f"{WASM}: its entrypoint must be {ENTRYPOINT}")
        if problems:
            self.close()
            raise BundleError(tuple(problems))
        self._entrypoint = offered[ENTRYPOINT]

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
            EvaluationError: timeout, memory, crash, builtin_error, undefined, too_large.
        """
        if len(document) > _MAX_INPUT:
            raise EvaluationError(EvaluationCode.TOO_LARGE, f"the input has more than {_MAX_INPUT} bytes")
        if self._spoilt:
            self._renew()
        self._spoilt = True  # until the instance is known to have ended well
        try:
            # INVARIANT: an interruption before this line is seen in `_late`, one after it traps the instance.
            self._runtime.set_epoch_deadline(1)
            if self._late:
                raise EvaluationError(EvaluationCode.TIMEOUT, "late before the evaluation began")
            self._abi.opa_heap_ptr_set(self._heap)
            address = self._codec.write_bytes(document)
            scratch = self._abi.opa_heap_ptr_get()
            result = self._abi.opa_eval(self._entrypoint, self._data_address, address, len(document), scratch)
            answer = self._codec.read_cstring(result)
            self._runtime.set_epoch_deadline(_NEVER)
        except (OpaWasmError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise self._failure(error) from None
        self._spoilt = False
        return _only_result(answer)

    def close(self) -> None:
        """Free the instance."""
        self._runtime.close()
        self._factory.close()

    def _boot(self) -> None:
        self._spoilt = False
        self._runtime = self._factory.create_runtime()
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

    def _renew(self) -> None:
        self._runtime.close()
        try:
            self._boot()
        except (OpaWasmError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
            self._spoilt = True
            raise EvaluationError(EvaluationCode.CRASH, f"cannot restart: {_line(error)}") from None

    def _failure(self, error: Exception) -> EvaluationError:
        if isinstance(error, wasmtime.Trap) and error.trap_code == wasmtime.TrapCode.INTERRUPT:
            return EvaluationError(EvaluationCode.TIMEOUT, "interrupted at the deadline", fatal=True)
        if isinstance(error, OpaMemoryError):
            return EvaluationError(EvaluationCode.TOO_LARGE, _line(error))
        if isinstance(error, OpaAbortError):
            text = _line(error)
            if "malloc" in text:
                return EvaluationError(EvaluationCode.MEMORY, "the memory cap is reached", fatal=True)
            return EvaluationError(EvaluationCode.BUILTIN_ERROR, text)
        return EvaluationError(EvaluationCode.CRASH, _line(error), fatal=True)


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
