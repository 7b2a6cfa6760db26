"""The embedded engine: the compiled policy in a WebAssembly sandbox, with a hard deadline and a memory cap.

Needs no OPA. A policy cannot reach anything: no host function is offered to it besides the one by which it
reports its own failure. Interruption is by wasmtime's epochs: the event loop's timer moves the epoch of the
one sandbox that is late, so there is no ticking thread and no cost while nothing is late.
"""

from __future__ import annotations

import asyncio
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
from trionyx_policies.errors import BundleError, EngineError, EvaluationCode, EvaluationError

_SANDBOXES: Final = 2
_PAGES_PER_MB: Final = 16
_MAX_DATA: Final = 8 << 20
_MAX_INPUT: Final = 2 << 20
_MAX_ANSWER: Final = 1 << 20
_START_S: Final = 10.0


class WasmEngine:
    """Evaluates in worker threads, one sandbox each; a sandbox that failed is thrown away."""

    def __init__(
        self, factory: WasmtimeRuntimeFactory, sandboxes: tuple[Sandbox, ...], deadline_s: float
    ) -> None:
        self._factory = factory
        self._idle = deque(sandboxes)
        self._slots = anyio.Semaphore(len(sandboxes))
        self._threads = ThreadPoolExecutor(len(sandboxes), thread_name_prefix="trionyx-policy")
        self._deadline_s = deadline_s
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
                self._spoilt = True  # until the instance is known to have ended well
                answer = self._run(document)
            except (OpaWasmError, wasmtime.Trap, wasmtime.WasmtimeError) as error:
                if _is_interrupt(error) and not self._late:
                    continue
                raise _failure(error) from None
            self._spoilt = False
            return _only_result(answer)

    def close(self) -> None:
        """Free the instance."""
        self._runtime.close()

    def _run(self, document: bytes) -> bytes:
        # INVARIANT: an interruption before this line is seen in `_late`, one after it traps the instance.
        self._runtime.set_epoch_deadline(1)
        if self._late:
            raise EvaluationError(EvaluationCode.TIMEOUT, "late before the evaluation began")
        self._abi.opa_heap_ptr_set(self._heap)
        address = self._codec.write_bytes(document)
        scratch = self._abi.opa_heap_ptr_get()
        result = self._abi.opa_eval(
            self._offered[ENTRYPOINT], self._data_address, address, len(document), scratch
        )
        return self._codec.read_cstring(result)

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
        self._spoilt = False


def _failure(error: Exception) -> EvaluationError:
    if _is_interrupt(error):
        return EvaluationError(EvaluationCode.TIMEOUT, "interrupted at the deadline", fatal=True)
    match error:
        case OpaAbortError() if "malloc" in str(error):
            return EvaluationError(EvaluationCode.MEMORY, "the memory cap is reached", fatal=True)
        case OpaAbortError():
            return EvaluationError(EvaluationCode.BUILTIN_ERROR, _line(error))
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
