"""The decision point: what it asks of its input, what it remembers, what it refuses to start with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from trionyx_policies.bundle import Bundle
from trionyx_policies.engine import EngineSettings
from trionyx_policies.errors import EngineError, EvaluationCode, EvaluationError
from trionyx_policies.point import Breaker, PolicyPoint

pytestmark = [pytest.mark.anyio, pytest.mark.guarantee("G03")]


class Untouched:
    """An engine that must not be asked."""

    def evaluate_now(self, document: bytes) -> bytes:
        raise AssertionError("the engine was asked")

    async def evaluate(self, document: bytes) -> bytes:
        raise AssertionError("the engine was asked")

    async def aclose(self) -> None:
        """Nothing to stop."""


async def refused(bundle: Bundle, document: bytes) -> EvaluationCode:
    with pytest.raises(EvaluationError) as caught:
        await PolicyPoint(bundle, Untouched(), Breaker()).decide(document)
    return caught.value.code


def pointers(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every member of every object in the input, but what is free in it."""
    found: list[tuple[Any, ...]] = []
    if isinstance(value, dict) and place not in {("args",), ("run", "by_effect")}:
        for name, below in value.items():
            found += [(*place, name), *pointers(below, (*place, name))]
    if isinstance(value, list) and value:
        found += pointers(value[0], (*place, 0))
    return found


async def test_no_member_of_the_input_may_be_absent(bundle: Bundle, call: Callable[..., Any]) -> None:
    words = {
        "urls": [{}],
        "paths": ["/a"],
        "to": ["a@b.c"],
        "text": [{}],
        "invalid": [{"arg": "/a", "type": "url"}],
        "origins": [{"sources": [{"kind": "prompt", "call": "", "tool": "", "pointer": ""}]}],
    }
    whole = pointers(call("mail.send", **words))
    assert len(whole) > 60
    for place in whole:
        document = call("mail.send", **words)
        node = document
        for step in place[:-1]:
            node = node[step]
        del node[place[-1]]
        assert await refused(bundle, rfc8785.dumps(document)) is EvaluationCode.ILL_TYPED, place


@pytest.mark.parametrize(
    "change",
    [
        {"point": "tool.result"},
        {"schema": "trionyx.input/v2"},
        {"extra": 1},
        {"approvals": [{}]},
        {"args": []},
        {"label": {"categories": [], "integrity": "org", "level": "secret", "readers": "nobody"}},
        {"time": {"ms": 1, "hour": 24, "weekday": 1}},
    ],
)
async def test_nothing_else_may_be_in_it(
    bundle: Bundle, call: Callable[..., Any], change: dict[str, Any]
) -> None:
    assert await refused(bundle, rfc8785.dumps(call("mail.list") | change)) is EvaluationCode.ILL_TYPED


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw + b" ",
        lambda raw: b" " + raw,
        lambda raw: raw.replace(b'"args":{', b'"args":{"a":1,"a":2,'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":1.0}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":1E2}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":9007199254740993}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":18446744073709551616}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":NaN}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":"\\ud800"}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":"\\u0041"}'),
        lambda raw: raw.replace(b'"args":{}', b'"args":{"n":"\xff"}'),
        lambda raw: b"",
        lambda raw: b"null",
    ],
)
async def test_only_canonical_bytes_are_decided(
    bundle: Bundle, document: Callable[..., bytes], spoil: Callable[[bytes], bytes]
) -> None:
    assert await refused(bundle, spoil(document("mail.list"))) is EvaluationCode.ILL_TYPED


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


async def test_deep_and_long_inputs_are_refused_before_the_engine(
    bundle: Bundle, call: Callable[..., Any], document: Callable[..., bytes]
) -> None:
    assert await refused(bundle, document("mail.list", args={"n": nested(130)})) is EvaluationCode.TOO_LARGE
    deep = json.dumps(call("mail.list"), sort_keys=True, separators=(",", ":")).replace(
        '"args":{}', '"args":{"n":' + "[" * 5000 + "]" * 5000 + "}"
    )
    assert await refused(bundle, deep.encode()) in {EvaluationCode.TOO_LARGE, EvaluationCode.ILL_TYPED}
    assert (
        await refused(bundle, document("mail.list", args={"n": "x" * (1 << 20)})) is EvaluationCode.TOO_LARGE
    )


async def test_floats_and_far_letters_have_a_canonical_form_too(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes]
) -> None:
    edges = [1.5, -0.5, 5e-324, 1.7976931348623157e308, 1e21, 1e-7, 2**53 - 1, -(2**53) + 1]
    odd = {"\U0001f600": 1, "\uffff": 2, "\x00": "\x00\x1f\x7f", "é": "e\u0301"}
    async with started(bundle, settings) as point:
        decision = await point.decide(document("mail.list", args={"numbers": edges, "letters": odd}))
    assert decision.outcome == "allow"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (EngineSettings(deadline_ms=5), "deadline_ms"),
        (EngineSettings(deadline_ms=600_000), "deadline_ms"),
        (EngineSettings(memory_mb=1), "memory_mb"),
        (EngineSettings(memory_mb=9999), "memory_mb"),
        (
            EngineSettings(kind="opa", opa_command=Path("/nonexistent/opa")),
            "/nonexistent/opa: cannot be started",
        ),
        (EngineSettings(kind="opa", opa_command=Path("/bin/echo")), "/bin/echo: does not answer like opa"),
    ],
)
@pytest.mark.guarantee("G27")
async def test_settings_that_cannot_be_are_told_at_start(
    bundle: Bundle, settings: EngineSettings, message: str
) -> None:
    with pytest.raises(EngineError, match=message):
        await PolicyPoint.start(bundle, settings)


def test_the_breaker_forgets_after_a_while() -> None:
    now = 0.0
    breaker = Breaker(strikes=2, memory_s=10.0, capacity=2, clock=lambda: now)
    assert not breaker.is_open(b"a")
    breaker.strike(b"a")
    assert not breaker.is_open(b"a")
    breaker.strike(b"a")
    assert breaker.is_open(b"a") and not breaker.is_open(b"b")
    now = 10.5
    assert not breaker.is_open(b"a")


def test_the_breaker_remembers_no_more_than_it_may() -> None:
    breaker = Breaker(strikes=1, capacity=2)
    for name in (b"a", b"b", b"c"):
        breaker.strike(name)
    assert [breaker.is_open(name) for name in (b"a", b"b", b"c")] == [False, True, True]
