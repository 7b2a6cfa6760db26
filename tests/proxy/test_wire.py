"""Lines in and out: one strict reading, canonical bytes embedded unchanged, hostile lines contained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import anyio
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import JSONRPCError, JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from trionyx_proxy.arguments import LINE, Limits
from trionyx_proxy.pep import wire


class Chunks:
    """A byte source that delivers exactly the given chunks."""

    def __init__(self, chunks: Sequence[bytes]) -> None:
        self._rest = list(chunks)

    async def receive(self, max_bytes: int = 65_536) -> bytes:
        if not self._rest:
            raise anyio.EndOfStream
        return self._rest.pop(0)


def read(chunks: Sequence[bytes], max_bytes: int) -> list[tuple[bytes, bool]]:
    async def collect() -> list[tuple[bytes, bool]]:
        return [item async for item in wire.lines(Chunks(chunks), max_bytes)]

    return anyio.run(collect)


@given(st.lists(st.binary(max_size=12)), st.integers(1, 9))
def test_lines_do_not_depend_on_how_the_bytes_arrive(parts: list[bytes], size: int) -> None:
    text = b"".join(parts)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    expected = [(line, True) for line in text.split(b"\n")[:-1] if line.strip()]
    assert read(chunks, 1_000) == expected == read([text] if text else [], 1_000)


def test_a_line_over_the_limit_is_cut_once_and_the_next_line_is_whole() -> None:
    chunks = [b"a" * 7, b"a" * 7, b"a\nok\n", b"b" * 11 + b"\nend\n"]
    assert read(chunks, 10) == [(b"a" * 10, False), (b"ok", True), (b"b" * 10, False), (b"end", True)]


def test_bytes_after_the_last_line_feed_are_no_message() -> None:
    assert read([b'{"jsonrpc":"2.0"}'], 100) == []


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"jsonrpc":"2.0","id":7,"method":"m","method":"n"}', "duplicate_member"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"n":NaN}}', "syntax"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"n":9007199254740993}}', "number_range"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"s":"\\u0000"}}', "nul"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","params":{"s":"\\ud800"}}', "surrogate"),
        (b'{"jsonrpc":"2.0","id":7,"method":"m","extra":1}', "not_json_rpc"),
        (b'{"jsonrpc":"1.0","id":7,"method":"m"}', "not_json_rpc"),
        (b'{"jsonrpc":"2.0","id":7,"method":1}', "not_json_rpc"),
        (b'[{"jsonrpc":"2.0","id":7,"method":"m"}]', "not_json_rpc"),
        (b'{"jsonrpc":"2.0","id":7,"result":{},"error":{"code":1,"message":"m"}}', "not_json_rpc"),
    ],
)
def test_a_line_without_one_reading_is_no_message(line: bytes, code: str) -> None:
    found = wire.decode(line, LINE)
    assert isinstance(found, wire.Malformed)
    assert (found.code, found.line) == (code, line)
    if line.startswith(b"{"):
        assert found.request_id == 7


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("odd", ["\0", "\ud800", "\udcff\0"])
def test_a_text_in_a_tools_result_is_mended_and_nothing_else_is(odd: str) -> None:
    def read(body: dict[str, Any]) -> JSONRPCMessage | wire.Malformed:
        line = json.dumps({"jsonrpc": "2.0", "id": 7, **body}).encode()
        assert isinstance(wire.decode(line, LINE), wire.Malformed)
        return wire.decode(line, LINE, mends_results=True)

    there = {"content": [{"type": "text", "text": f"a{odd}"}], "structuredContent": {"b": [odd], odd: 1}}
    mended = "\ufffd" * len(odd)
    assert read({"result": there}) == JSONRPCResponse(
        jsonrpc="2.0",
        id=7,
        result={
            "content": [{"type": "text", "text": f"a{mended}"}],
            "structuredContent": {"b": [mended], mended: 1},
        },
    )
    others: list[dict[str, Any]] = [
        {"result": {"tools": [{"name": "a", "description": odd}]}},
        {"result": {"tools": [{"name": "a", "description": odd}], "content": []}},
        {"result": {"content": odd}},
        {"result": {"content": [], "structuredContent": {"\0": 1, "\ud800": 2}}},
        {"result": {"content": [odd, 2**53]}},
        {"method": "m", "params": {"content": [odd]}},
        {"error": {"code": -1, "message": odd}},
    ]
    for body in others:
        found = read(body)
        assert isinstance(found, wire.Malformed) and found.request_id == 7


@pytest.mark.parametrize("identity", [b"true", b"1.5", b"null", b"[]"])
def test_an_id_that_is_no_id_makes_the_line_malformed(identity: bytes) -> None:
    found = wire.decode(b'{"jsonrpc":"2.0","id":%s,"method":"m"}' % identity, LINE)
    assert isinstance(found, wire.Malformed) and found.request_id is None


def test_limits_hold_for_the_whole_line() -> None:
    tight = Limits(max_bytes=1_000, max_depth=4)
    deep = b'{"jsonrpc":"2.0","method":"m","params":{"a":[[[[]]]]}}'
    found = wire.decode(deep, tight)
    assert isinstance(found, wire.Malformed) and found.code == "too_deep"


MESSAGES: list[JSONRPCMessage] = [
    JSONRPCRequest(jsonrpc="2.0", id="a", method="tools/call", params={"name": "x", "arguments": {"n": 1.5}}),
    JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized"),
    JSONRPCResponse(jsonrpc="2.0", id=3, result={"content": []}),
    JSONRPCError.model_validate({"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "m"}}),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_written_reads_back(message: JSONRPCMessage) -> None:
    line = wire.encode(message)
    assert line.endswith(b"\n") and line.count(b"\n") == 1
    if isinstance(message, JSONRPCError):
        assert json.loads(line) == {"jsonrpc": "2.0", "id": None, "error": {"code": -1, "message": "m"}}
    else:
        assert wire.decode(line[:-1], LINE) == message


@pytest.mark.guarantee("G04")
def test_canonical_bytes_are_embedded_as_they_are() -> None:
    # Not canonical, so that bytes which were read and written again would differ.
    body = b'{"a":1E21, "b":0.10,"c":"\\u00e9"}'
    result = JSONRPCResponse(jsonrpc="2.0", id=1, result=wire.raw(body))
    assert wire.encode(result) == b'{"jsonrpc":"2.0","id":1,"result":' + body + b"}\n"
    params = {"name": "t", "arguments": orjson.Fragment(body)}
    request = JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/call", params=params)
    assert b'"arguments":' + body + b"}" in wire.encode(request)
