"""The policy decision point: bundle, engine, deadline and breaker behind one question.

Answers with a decision that the host computed, or raises; it never allows by mistake, and never logs.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Final, cast

from trionyx_policies.answer import parse_answer
from trionyx_policies.bundle import Bundle
from trionyx_policies.decision import Decision
from trionyx_policies.document import DocumentError, Json, parse_canonical
from trionyx_policies.effect import decide
from trionyx_policies.engine import Engine, EngineSettings
from trionyx_policies.engine.wasm import WasmEngine
from trionyx_policies.errors import EngineError, EvaluationCode, EvaluationError
from trionyx_policies.schema import INPUT

__all__ = ["Breaker", "EngineSettings", "PolicyPoint"]

MAX_INPUT_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 128


class Breaker:
    """Remembers which calls killed the engine, so that none does it again and again.

    A call is its tool and its arguments; a run's counters and the time do not make it another one.

    Args:
        strikes: kills after which a call is no longer tried.
        memory_s: seconds until a kill is forgotten.
        capacity: calls remembered; the oldest is forgotten first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        strikes: int = 2,
        memory_s: float = 600.0,
        capacity: int = 4096,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._strikes = strikes
        self._memory_s = memory_s
        self._capacity = capacity
        self._clock = clock
        self._kills: OrderedDict[bytes, list[float]] = OrderedDict()

    def is_open(self, call: bytes) -> bool:
        """Tell whether this call must not be tried."""
        kills = self._kills.get(call)
        if kills is None:
            return False
        horizon = self._clock() - self._memory_s
        kills[:] = [kill for kill in kills if kill > horizon]
        if not kills:
            del self._kills[call]
        return len(kills) >= self._strikes

    def strike(self, call: bytes) -> None:
        """Remember that this call killed the engine."""
        self._kills.setdefault(call, []).append(self._clock())
        self._kills.move_to_end(call)
        while len(self._kills) > self._capacity:
            self._kills.popitem(last=False)


class PolicyPoint:
    """Decides calls under one bundle; replaced as a whole when the policy is reloaded."""

    def __init__(self, bundle: Bundle, engine: Engine, breaker: Breaker) -> None:
        self.bundle = bundle
        self._engine = engine
        self._breaker = breaker

    @classmethod
    async def start(cls, bundle: Bundle, settings: EngineSettings) -> PolicyPoint:
        """Start an engine for the bundle and let it answer once.

        Raises:
            BundleError: the bundle's compiled policy or sources may not run.
            EngineError: the engine could not be started, or does not answer; nothing is left running.
        """
        _check(settings)
        point = cls(bundle, await _start_engine(bundle, settings), Breaker())
        try:
            await point.decide(_PROBE)
        except EvaluationError as error:
            await point.aclose()
            raise EngineError(f"the policy does not answer: {error}") from None
        except BaseException:
            await point.aclose()
            raise
        return point

    async def decide(self, document: bytes) -> Decision:
        """Decide one call.

        Args:
            document: canonical JSON, `trionyx.input/v1`, at most 1 MiB, nested at most 128 deep.

        Raises:
            EvaluationError: there is no decision; the caller denies and records the code.
        """
        begun = self.begin(document)
        return begun if isinstance(begun, Decision) else await begun

    def begin(self, document: bytes) -> Decision | Coroutine[None, None, Decision]:
        """Decide one call at once where the engine can, else give what to await for the decision.

        Must be called on the event loop. Argument and errors are those of `decide`.
        """
        call = _identify(document)
        if self._breaker.is_open(call):
            raise EvaluationError(EvaluationCode.BREAKER, "this call killed the engine before")
        try:
            raw = self._engine.evaluate_now(document)
        except EvaluationError as error:
            self._note(call, error)
            raise
        return self._wait(call, document) if raw is None else self._decided(raw)

    async def _wait(self, call: bytes, document: bytes) -> Decision:
        try:
            raw = await self._engine.evaluate(document)
        except EvaluationError as error:
            self._note(call, error)
            raise
        return self._decided(raw)

    def _note(self, call: bytes, error: EvaluationError) -> None:
        if error.fatal:
            self._breaker.strike(call)

    def _decided(self, raw: bytes) -> Decision:
        answer = parse_answer(raw, rules=self.bundle.rules, packs=self.bundle.packs)
        return decide(answer, revision=self.bundle.revision, digest=self.bundle.digest)

    async def aclose(self) -> None:
        """Stop the engine."""
        await self._engine.aclose()


def _identify(document: bytes) -> bytes:
    """Check the input and name the call in it.

    INVARIANT: rules may rely on every member that the schema requires. An absent one would make a deny rule
    undefined, in silence; here it is an error.
    """
    if len(document) > MAX_INPUT_BYTES:
        raise EvaluationError(EvaluationCode.TOO_LARGE, f"the input has more than {MAX_INPUT_BYTES} bytes")
    try:
        value = parse_canonical(document)
    except DocumentError:
        raise EvaluationError(EvaluationCode.ILL_TYPED, "the input is not canonical JSON") from None
    if document.count(b"[") + document.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise EvaluationError(EvaluationCode.TOO_LARGE, f"the input is nested more than {MAX_DEPTH} deep")
    if not INPUT.accepts(value):
        raise EvaluationError(EvaluationCode.ILL_TYPED, "the input does not fit the input schema")
    members = cast("dict[str, dict[str, str]]", value)
    name = f"{members['tool']['id']}\n{members['args_meta']['sha256']}"
    return hashlib.sha256(name.encode()).digest()


def _depth(value: Json) -> int:
    """Measure nesting, up to one more than is allowed, without recursion."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        below: list[Json] = []
        for node in level:
            if isinstance(node, dict):
                below.extend(node.values())
            elif isinstance(node, list):
                below.extend(node)
        level = below
    return depth


def _check(settings: EngineSettings) -> None:
    if not 10 <= settings.deadline_ms <= 60_000:
        raise EngineError("deadline_ms must be between 10 and 60000")
    if not 8 <= settings.memory_mb <= 4096:
        raise EngineError("memory_mb must be between 8 and 4096")


async def _start_engine(bundle: Bundle, settings: EngineSettings) -> Engine:
    match settings.kind:
        case "wasm":
            return await WasmEngine.start(bundle, settings)
        case "opa":
            # Here, because the client's HTTP stack costs a fifth of a second to import.
            from trionyx_policies.engine.opa import OpaEngine

            return await OpaEngine.start(bundle, settings)


_PROBE: Final = (
    b'{"approvals":[],"args":{},"args_meta":{"bytes":2,'
    b'"sha256":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"},'
    b'"facts":{"invalid":[],"origins":[],"paths":[],"recipients":[],"text":[],"urls":[]},'
    b'"label":{"categories":[],"integrity":"public","level":"secret","readers":[]},"point":"tool.call",'
    b'"prompt":{"emails":[],"hosts":[],"implies":[],"paths":[],"registered":false,"sha256":""},'
    b'"run":{"agent":"","by_effect":{},"calls":0,"denied":0,"id":"","in_flight":0,"registered":false,'
    b'"same_call":0,"tenant":"","user":""},"schema":"trionyx.input/v1","time":{"hour":0,"ms":0,"weekday":0},'
    b'"tool":{"catalog":"","descriptor_sha256":"0000000000000000000000000000000000000000000000000000000000000000",'
    b'"effect":"destroy","id":"","name":"","server":""}}'
)
