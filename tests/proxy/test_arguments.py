"""The strict reading: held against a slow reader of its own, and against torture inputs."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_proxy.arguments import ARGUMENTS, LINE, Limits, canonical, check, parse, pointer
from trionyx_proxy.errors import ArgumentError

SMALL = Limits(max_bytes=400, max_depth=4, max_string_bytes=12, max_key_bytes=8, max_nodes=12)


def _load_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "reference_json", Path(__file__).with_name("reference_json.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


reference = _load_reference()


def outcome(raw: bytes, limits: Limits) -> tuple[str, Any]:
    try:
        return "value", parse(raw, limits)
    except ArgumentError as error:
        return "refused", error.code


def expected(raw: bytes, limits: Limits) -> tuple[str, Any]:
    if len(raw) > limits.max_bytes:
        return "refused", "too_large"
    try:
        return "value", reference.read(
            raw,
            depth=limits.max_depth,
            string_bytes=limits.max_string_bytes,
            key_bytes=limits.max_key_bytes,
            nodes=limits.max_nodes,
        )
    except reference.Refused as error:
        return "refused", str(error)


def assert_same(raw: bytes, limits: Limits) -> None:
    mine, theirs = outcome(raw, limits), expected(raw, limits)
    assert mine[0] == theirs[0], (raw, mine, theirs)
    if mine[0] == "value":
        assert repr(mine[1]) == repr(theirs[1]), raw  # repr: 1 and 1.0 and True are three things


REFUSED = {
    "syntax": [
        b"",
        b" ",
        b"[",
        b"]",
        b"[1,]",
        b"[,1]",
        b"[1 2]",
        b"{",
        b'{"a"}',
        b'{"a":}',
        b'{"a":1,}',
        b"{1:1}",
        b"{a:1}",
        b"{'a':1}",
        b"'a'",
        b'"',
        b'"\\"',
        b'"\\x41"',
        b'"\\u12"',
        b'"\\u12G4"',
        b'"\\u 123"',
        b'"\\U0041"',
        b'"a\tb"',
        b'"a\nb"',
        b'"\x00"',
        b'"\x1f"',
        b"tru",
        b"True",
        b"nul",
        b"nulll",
        b"truefalse",
        b"1 1",
        b"[1]]",
        b"{} {}",
        b"01",
        b"-01",
        b"1.",
        b".5",
        b"+1",
        b"-",
        b"--1",
        b"1e",
        b"1e+",
        b"0x10",
        b"1_000",
        b"1,000",
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"[NaN]",
        b'{"a":-Infinity}',
        b"nan",
        b"/**/1",
        b"1//",
        b"#1",
        b"\x0c1",
        b"\x0b1",
        b"1\x00",
        "\u00a01".encode(),
        "\u20281".encode(),
        "１".encode(),
        "٣".encode(),
        "[1٣]".encode(),
        "1.٣".encode(),
        b"[1\\]",
        b'\\"[[[[[[[[',
        b'[""\\", [[[[[[',
        b'{"a":1}x',
        b'["a",\n4\n,1,',
        b"\\u0031",
        b'["a"\ta]',
        b'{"a":/*x*/1}',
        b"undefined",
        b"[\xc2\x851]",
    ],
    "encoding": [
        b"\xff",
        b'"\xff"',
        b'"\xc0\x80"',
        b'"\xc0\xaf"',
        b'"\xed\xa0\x80"',
        b'"\xed\xb0\x80"',
        b'"\xf4\x90\x80\x80"',
        b'"\xf8\x88\x80\x80\x80"',
        b'"\xe2\x82"',
        b'"\x80"',
        '"a"'.encode("utf-16"),
        b"\xff\xfe[\x00]\x00",
        b'{"\xe9":1}',
    ],
    "bom": [b"\xef\xbb\xbf", b"\xef\xbb\xbf{}", b'\xef\xbb\xbf"a"'],
    "duplicate_member": [
        b'{"a":1,"a":1}',
        b'{"a":1,"b":2,"\\u0061":3}',
        b'[{"":1,"":2}]',
        b'{"x":{"k":{},"k":{}}}',
        '{"é":1,"\\u00e9":2}'.encode(),
        b'{"\\ud83d\\ude00":1,"\xf0\x9f\x98\x80":2}',
        b'{"a\\/b":1,"a/b":2}',
    ],
    "number_range": [
        b"9007199254740992",
        b"-9007199254740992",
        b"18446744073709551617",
        b"9" * 5000,
        b"-" + b"9" * 400,
        b"1e400",
        b"-1e400",
        b"1e999999999",
        b"1e-400",
        b"-4.9e-999",
        b"0." + b"0" * 400 + b"1",
        b"9007199254740993.0",
        b"9007199254740992.0",
        b"1e16",
        b"-1e20",
        b"123456789012345678901e0",
    ],
    "surrogate": [
        b'"\\ud800"',
        b'"\\udc00"',
        b'"\\ud800\\ud800"',
        b'"\\ude00\\ud83d"',
        b'{"\\ud800":1}',
        b'"\\uD83Dx\\uDE00"',
    ],
    "nul": [b'"\\u0000"', b'"a\\u0000/../b"', b'{"a\\u0000":1}', b'[["\\u0000"]]'],
    "too_deep": [b"[" * 33 + b"]" * 33, b'{"a":' * 33 + b"1" + b"}" * 33, b"[" * 2000, b'[{"a":' * 400],
    "too_many_nodes": [b"[" + b"1," * 10_000 + b"1]", b"[" + b"[]," * 9_999 + b"[]]", b"[" * 1_000_000],
    "string_too_long": [
        b'"' + b"a" * 65_537 + b'"',
        '["{}"]'.format("é" * 32_769).encode(),
        b'"' + b"\\n" * 65_537 + b'"',
    ],
    "key_too_long": [
        b'{"' + b"k" * 257 + b'":1}',
        ('{"' + "é" * 129 + '":1}').encode(),
        b'{"' + b"\\u00e9" * 129 + b'":1}',
    ],
    "too_large": [b" " * (1 << 20) + b"1"],
}

ACCEPTED: list[tuple[bytes, object]] = [
    (b"null", None),
    (b" \t\n\r true ", True),
    (b"false", False),
    (b"0", 0),
    (b"-0", 0),
    (b"-0.0", 0),
    (b"0e99", 0),
    (b"0.000e-999", 0),
    (b"1.0", 1),
    (b"1E2", 100),
    (b"1e-2", 0.01),
    (b"9007199254740991", 2**53 - 1),
    (b"-9007199254740991.0", -(2**53) + 1),
    (b"1e21", 1e21),
    (b"123.456e78", 123.456e78),
    (b"5e-324", 5e-324),
    (b"1.7976931348623157e308", 1.7976931348623157e308),
    (b"0.1000000000000000055511151231257827", 0.1),
    (b'"\\u00e9\\/\\b\\f\\n\\r\\t\\"\\\\"', 'é/\b\f\n\r\t"\\'),
    (b'"\\ud83d\\ude00"', "😀"),
    (b'"\x7f"', "\x7f"),
    ('"\ufeff\u2028\uffff\U0010ffff"'.encode(), "\ufeff\u2028\uffff\U0010ffff"),
    (b'"\\\\u0000"', "\\u0000"),
    (b"[]", []),
    (b"{}", {}),
    (b'{"":0}', {"": 0}),
    (b'{"a":{"a":1}}', {"a": {"a": 1}}),
    (b'"[[[[\\"{{{"', '[[[["{{{'),
    (b'{"__proto__":1,"constructor":2}', {"__proto__": 1, "constructor": 2}),
    ('{"\u00e9":1,"e\u0301":2}'.encode(), {"\u00e9": 1, "e\u0301": 2}),
    (b'["' + b"[{" * 3000 + b'"]', ["[{" * 3000]),
    (b'["' + b"\\\\" * 50 + b'", "[[[["]', ["\\" * 50, "[[[["]),
]


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("code", REFUSED)
def test_text_without_one_strict_reading_is_refused(code: str) -> None:
    for raw in REFUSED[code]:
        with pytest.raises(ArgumentError) as caught:
            parse(raw)
        assert caught.value.code == code, raw[:60]
        assert_same(raw, ARGUMENTS)


@pytest.mark.guarantee("G11")
def test_strict_text_is_read_as_the_reference_reads_it() -> None:
    for raw, value in ACCEPTED:
        assert repr(parse(raw)) == repr(value), raw
        assert_same(raw, ARGUMENTS)


@pytest.mark.parametrize(
    ("at_limit", "beyond", "limits", "code"),
    [
        (b"[" * 32 + b"]" * 32, b"[" * 33 + b"]" * 33, ARGUMENTS, "too_deep"),
        (b'["' + b"a" * 65_536 + b'"]', b'["' + b"a" * 65_537 + b'"]', ARGUMENTS, "string_too_long"),
        (b'{"' + b"k" * 256 + b'":0}', b'{"' + b"k" * 257 + b'":0}', ARGUMENTS, "key_too_long"),
        (b"[" + b"0," * 9_998 + b"0]", b"[" + b"0," * 9_999 + b"0]", ARGUMENTS, "too_many_nodes"),
        (b"[" + b"[]," * 9_998 + b"[]]", b"[" + b"[]," * 9_999 + b"[]]", ARGUMENTS, "too_many_nodes"),
        (
            b"[" + b"[ 1 ]," * 4_998 + b"[2], 3]",
            b"[" + b"[ 1 ]," * 5_000 + b"3]",
            ARGUMENTS,
            "too_many_nodes",
        ),
        (b" " * ((1 << 20) - 1) + b"1", b" " * (1 << 20) + b"1", ARGUMENTS, "too_large"),
        (b"[" * 128 + b"]" * 128, b"[" * 129 + b"]" * 129, LINE, "too_deep"),
    ],
)
def test_limits_hold_exactly(at_limit: bytes, beyond: bytes, limits: Limits, code: str) -> None:
    parse(at_limit, limits)
    assert outcome(beyond, limits) == ("refused", code)


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("before", [b"\\\\", b'\\"', b'\\\\\\"', b"x\\\\\\\\", b"\\n\\\\", b""])
def test_brackets_within_strings_do_not_count_and_others_do(before: bytes) -> None:
    string = b'"' + before + b'"'
    assert parse(b"[" + string + b', "' + b"[" * 100 + b'"]') == [json.loads(string), "[" * 100]
    assert outcome(b"[" + string + b", " + b"[" * 32 + b"]" * 33, ARGUMENTS) == ("refused", "too_deep")
    assert outcome(b"[" + string + b", " + b"[" * 31 + b"]" * 32, ARGUMENTS)[0] == "value"


# Text that is nearly JSON: real tokens in a nearly right order, and the usual suspects among them.
TOKENS = st.sampled_from(
    [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"a"',
        '"b"',
        '"\\u0061"',
        '""',
        "1",
        "-0.0",
        "1e2",
        "true",
        "null",
        " ",
        "\\",
        '"',
        '"\\u0000"',
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"[["',
        '"\\""',
        '"\\\\"',
        "NaN",
        "9007199254740992",
        "1e16",
        "\n",
        '"aaaaaaaaaaaaa"',
        '{"a":',
        "[[",
        "]]",
        ',"a":',
        '"é"',
    ]
)
NEARLY = st.lists(TOKENS, max_size=24).map(lambda tokens: "".join(tokens).encode())
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=14),
    st.integers(-(2**54), 2**54),
    st.floats(min_value=-1e22, max_value=1e22).map(lambda number: float(int(number))),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
ENCODED = st.builds(
    lambda value, ascii_only, indent: json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(
        "utf-8", "surrogatepass"
    ),
    VALUES,
    st.booleans(),
    st.sampled_from([None, 1]),
)


@pytest.mark.guarantee("G11")
@settings(max_examples=700, deadline=None)
@given(NEARLY | ENCODED | st.binary(max_size=12), st.sampled_from([SMALL, ARGUMENTS]))
def test_the_fast_reader_agrees_with_the_slow_one(raw: bytes, limits: Limits) -> None:
    assert_same(raw, limits)


@settings(max_examples=250, deadline=None)
@given(ENCODED, st.data())
def test_one_changed_byte_is_read_alike_too(raw: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(raw)))
    inserted = data.draw(st.binary(max_size=2))
    assert_same(raw[:at] + inserted + raw[at + data.draw(st.integers(0, 2)) :], SMALL)


ODD = st.text(st.sampled_from("a\0\ud800\udfff\ufffd\U0001f600"), max_size=4)
ODD_VALUES = st.recursive(
    ODD | st.integers(0, 9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ODD, inner, max_size=4),
    max_leaves=12,
)


def mended(value: Any) -> Any:
    match value:
        case str():
            text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            return "".join("\ufffd" if char == "\0" else char for char in text)
        case list():
            return [mended(one) for one in value]
        case dict():
            members = {mended(name): mended(member) for name, member in value.items()}
            if len(members) != len(value):
                raise reference.Refused("duplicate_member")
            return members
        case _:
            return value


@pytest.mark.guarantee("G11")
@settings(max_examples=250, deadline=None)
@given(ODD_VALUES)
def test_mending_changes_what_cannot_be_read_and_nothing_else(value: Any) -> None:
    raw = json.dumps(value).encode()
    strict = outcome(raw, ARGUMENTS)
    try:
        found = parse(raw, mends_text=True)
    except ArgumentError as error:
        with pytest.raises(reference.Refused, match=error.code):
            mended(value)
        return
    # What the text spells with two escapes in a row is one character.
    assert found == mended(json.loads(raw))
    assert strict[0] == "refused" or strict == ("value", found)
    assert parse(canonical(found)) == found


@pytest.mark.guarantee("G04")
@settings(max_examples=250, deadline=None)
@given(ENCODED)
def test_the_canonical_form_reads_back_as_the_same_value(raw: bytes) -> None:
    kind, value = outcome(raw, ARGUMENTS)
    if kind == "value":
        again = canonical(value)
        assert repr(parse(again)) == repr(_sorted(value))
        assert again == rfc8785.dumps(value) == canonical(parse(again))
        check(value)


def _sorted(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _sorted(value[key]) for key in sorted(value, key=lambda key: key.encode("utf-16-be"))
            }
        case list():
            return [_sorted(element) for element in value]
    return value


@pytest.mark.guarantee("G04")
def test_member_order_is_by_utf16_units() -> None:
    value = parse('{"\ufb33":1,"\U0001f600":2,"a":3,"\u20ac":4}'.encode())
    assert canonical(value) == '{"a":3,"\u20ac":4,"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'{"a":[0,{"b":NaN}]}', "/a/1/b"),
        (b'{"to":["x","\\ud800"]}', "/to/1"),
        (b'{"a":{"k":1,"k":2}}', "/a/k"),
        (b'{"p w":9007199254740992}', "/*"),
        (b'{"hunter2\\u0000":1}', "/*"),
        (b'{"a/b":[1e400]}', "/*/0"),
    ],
)
def test_errors_name_the_place_and_never_the_value(raw: bytes, where: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parse(raw)
    assert caught.value.pointer == where
    assert "9007199254740992" not in str(caught.value) and "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 1.0, 2**53, "\ud800", {"a": "\0"}, {1: 2}, (1,), b"x", {"a": {1, 2}}, [1e16], -0.0],
)
def test_values_that_no_text_reads_as_are_refused(value: Any) -> None:
    with pytest.raises(ArgumentError):
        check(value)


@pytest.mark.parametrize("value", [math.nan, 2**53, "\ud800", {"\ud800": 1}, {1: 2}, b"x", object()])
def test_values_without_canonical_form_are_refused(value: Any) -> None:
    with pytest.raises(ArgumentError):
        canonical(value)


def test_a_value_read_under_wide_limits_is_held_to_narrow_ones() -> None:
    deep = parse(b"[" * 40 + b"]" * 40, LINE)
    with pytest.raises(ArgumentError, match="nested"):
        check(deep)
    with pytest.raises(ArgumentError, match="bytes"):
        check(["a" * 60] * 10, Limits(max_bytes=100))


def test_pointers_hold_plain_names_only() -> None:
    assert pointer(["to", 0, "a b", "x" * 65, "ä", "$ref"]) == "/to/0/*/*/*/$ref"


def test_the_depth_limit_stays_within_what_the_reader_can_nest() -> None:
    with pytest.raises(ValueError, match="max_depth"):
        Limits(max_depth=201)


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "raw",
    [
        b"[" * (4 << 20),
        b'{"a":' * 800_000,
        b"]" * (4 << 20),
        b'"' * (4 << 20),
        b"\\" * (4 << 20),
        b"[]," * 1_300_000,
        b"9" * (4 << 20),
        b"[1" + b"0" * 4_000_000 + b"e1]",
        b'["' + b'\\"' * 2_000_000,
        b'["\\\\' * 1_000_000,
    ],
    ids=[
        "open",
        "objects",
        "close",
        "quotes",
        "backslashes",
        "empties",
        "digits",
        "exponent",
        "escapes",
        "mixed",
    ],
)
def test_hostile_text_is_refused_quickly(raw: bytes) -> None:
    began = time.thread_time()
    with pytest.raises(ArgumentError):
        parse(raw, LINE)
    # The processor's time, not the clock's, so that other work does not count.
    assert time.thread_time() - began < 2  # measured: under 0.1 s
