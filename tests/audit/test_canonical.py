"""RFC 8785, and the profile on which a fast encoder gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.canonical import (
    JSON,
    MAX_DEPTH,
    MAX_INTEGER,
    canonicalize,
    check_profile,
    decode_body,
    dump_profiled,
    encode_body,
)
from trionyx_audit.errors import EncodingError

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)
leaves = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.booleans(), st.integers(-MAX_INTEGER, MAX_INTEGER)
)
profiled = st.dictionaries(
    names, st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=12)
)


@pytest.mark.guarantee("G18")
def test_published_vectors_of_rfc_8785(go_module: Callable[[str, str, str], Path]) -> None:
    directory = go_module(
        "github.com/cyberphone/json-canonicalization",
        "v0.0.0-20241213102144-19d51d7fe467",
        "h1:uX1JmpONuD549D73r6cgnxyUu18Zb7yHAy5AYU0Pm4Q=",
    )
    inputs = sorted((directory / "testdata" / "input").glob("*.json"))
    assert len(inputs) >= 6
    for path in inputs:
        expected = (directory / "testdata" / "output" / path.name).read_bytes()
        assert canonicalize(orjson.loads(path.read_bytes())) == expected, path.name


@settings(max_examples=20)
@given(profiled)
def test_on_the_profile_the_fast_encoder_is_rfc_8785(value: dict[str, JSON]) -> None:
    body = encode_body(value)
    assert body == canonicalize(value)
    assert decode_body(body) == value


@pytest.mark.parametrize(
    "value",
    [2**53, -(2**53), float("nan"), float("inf"), "\ud800", ["\udfff"], {"\ud800": 1}],
    ids=repr,
)
def test_values_without_a_canonical_form_are_refused(value: JSON) -> None:
    with pytest.raises(EncodingError):
        canonicalize(value)


def test_nesting_beyond_the_interpreter_is_an_encoding_error() -> None:
    deep: JSON = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(EncodingError):
        canonicalize(deep)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (1.0, "not an integer"),
        (None, "null"),
        (2**53, "outside"),
        (-(2**53), "outside"),
        ({"A": 1}, "member name"),
        ({"": 1}, "member name"),
        ({"é": 1}, "member name"),
        ([None], "null"),
        ((1, 2), "not json"),
        ([{"a": [1.5]}], "not an integer"),
    ],
    ids=repr,
)
def test_the_profile_has_no_room_for(value: JSON, reason: str) -> None:
    with pytest.raises(EncodingError, match=reason):
        check_profile(value)
    with pytest.raises(EncodingError, match=reason):
        encode_body({"x": value})


@pytest.mark.parametrize(
    "value", ["text", True, 0, MAX_INTEGER, -MAX_INTEGER, [], {}, [["a"], {"b": False}]], ids=repr
)
def test_the_profile_holds(value: JSON) -> None:
    check_profile(value)


def test_a_flood_of_names_changes_nothing() -> None:
    flood: dict[str, JSON] = {f"n{number}": number for number in range(5000)}
    assert decode_body(encode_body(flood)) == flood
    assert decode_body(encode_body(flood)) == flood
    with pytest.raises(EncodingError, match="member name"):
        encode_body(flood | {"N": 1})


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}], ids=["list", "object"])
def test_depth_is_bounded(wrap: Callable[[JSON], JSON]) -> None:
    value: JSON = 1
    for _ in range(MAX_DEPTH):
        value = wrap(value)
    check_profile(value)
    with pytest.raises(EncodingError, match="nested deeper"):
        check_profile(wrap(value))


def test_a_lone_surrogate_is_found_when_encoding() -> None:
    with pytest.raises(EncodingError, match="unicode"):
        dump_profiled({"a": "\ud800"})


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":"\\u0041"}',
        b'{"a":"\xff"}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":9007199254740992}',
        b'{"a":null}',
        b'{"a":"\\ud800"}',
        b"[" * 100_000,
        b'{"a":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"a":1}\n',
        b"NaN",
    ],
    ids=lambda body: body[:24].decode("latin-1"),
)
def test_bytes_that_are_not_the_one_form_are_refused(body: bytes) -> None:
    with pytest.raises(EncodingError):
        decode_body(body)
