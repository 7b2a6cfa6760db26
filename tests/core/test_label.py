"""The lattice laws, exhaustively on a small lattice and at random on a large one; and parsing that fails to TOP."""

from __future__ import annotations

import itertools
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.core.label import (
    ALL,
    BOTTOM,
    EVERYONE,
    MAX_NAME_CHARS,
    MAX_NAMES,
    TOP,
    Categories,
    Integrity,
    Label,
    Level,
    Readers,
    decode_label,
    parse_label,
)

pytestmark = pytest.mark.guarantee("G06")

SOME_READERS: list[Readers] = [EVERYONE, frozenset(), frozenset("a"), frozenset("b"), frozenset("ab")]
SOME_CATEGORIES: list[Categories] = [ALL, frozenset(), frozenset({"pii"}), frozenset({"pii", "cred"})]
SMALL = [
    Label(integrity, level, readers, categories)
    for integrity, level, readers, categories in itertools.product(
        (Integrity.USER, Integrity.ORG, Integrity.PUBLIC),
        (Level.PUBLIC, Level.SECRET),
        SOME_READERS,
        SOME_CATEGORIES,
    )
]

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8).filter(
    lambda name: name != "*" and name.isprintable()
)
LABELS = st.builds(
    Label,
    st.sampled_from(Integrity),
    st.sampled_from(Level),
    st.none() | st.frozensets(NAMES, max_size=4),
    st.just(ALL) | st.frozensets(NAMES, max_size=4),
)


def check_pair(a: Label, b: Label) -> None:
    assert a.join(b) == b.join(a)
    assert a.meet(b) == b.meet(a)
    assert a.join(a.meet(b)) == a
    assert a.meet(a.join(b)) == a
    assert a.flows_to(b) == (a.join(b) == b) == (a.meet(b) == a)
    assert a.flows_to(a.join(b))
    assert a.meet(b).flows_to(a)
    assert not (a.flows_to(b) and b.flows_to(a)) or a == b


def check_triple(a: Label, b: Label, c: Label) -> None:
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.meet(b).meet(c) == a.meet(b.meet(c))
    assert a.meet(b.join(c)) == a.meet(b).join(a.meet(c))
    if a.flows_to(c) and b.flows_to(c):
        assert a.join(b).flows_to(c)
    if a.flows_to(b):
        assert a.join(c).flows_to(b.join(c))


def test_the_laws_hold_for_every_pair_of_a_small_lattice() -> None:
    for a, b in itertools.product(SMALL, repeat=2):
        check_pair(a, b)


def test_every_element_lies_between_bottom_and_top() -> None:
    for a in SMALL:
        assert BOTTOM.flows_to(a) and a.flows_to(TOP)
        assert a.join(a) == a == a.meet(a)
        assert a.join(BOTTOM) == a == a.meet(TOP)
        assert a.join(TOP) == TOP
        assert a.meet(BOTTOM) == BOTTOM


@given(LABELS, LABELS, LABELS)
def test_the_laws_hold_for_any_labels(a: Label, b: Label, c: Label) -> None:
    check_pair(a, b)
    check_triple(a, b, c)


def test_join_narrows_readers_and_meet_widens_them() -> None:
    def readers(*names: str) -> Label:
        return Label(readers=frozenset(names))

    assert BOTTOM.join(readers("emma")) == readers("emma")
    assert readers("emma").join(readers("jonas")) == readers()
    assert readers("emma").meet(readers("jonas")) == readers("emma", "jonas")
    assert readers("emma").meet(BOTTOM).readers is EVERYONE


def test_top_is_above_categories_that_nobody_has_named_yet() -> None:
    assert Label(categories=frozenset({"new"})).flows_to(TOP)
    assert not TOP.flows_to(Label(Integrity.PUBLIC, Level.SECRET, frozenset(), frozenset({"new"})))


@given(LABELS)
def test_a_label_survives_its_json_form(label: Label) -> None:
    assert parse_label(label.to_json()) == label
    assert decode_label(label.encode()) == label
    assert parse_label(json.loads(label.encode())) == label


def test_nobody_is_not_everybody_after_a_round_trip() -> None:
    nobody = Label(readers=frozenset())
    assert json.loads(nobody.encode())["readers"] == []
    assert decode_label(nobody.encode()).readers == frozenset()
    assert repr(TOP.categories) == "ALL"


@pytest.mark.guarantee("G10")
def test_names_are_written_in_order_whatever_order_a_set_has() -> None:
    names = [f"name-{n:02}" for n in range(20)]
    written = json.loads(Label(readers=frozenset(names), categories=frozenset(names)).encode())
    assert written["readers"] == written["categories"] == names


GOOD = {"categories": ["pii"], "integrity": "org", "level": "internal", "readers": "*"}

ODD: list[object] = [
    None, 7, "", "public", [], {}, [GOOD], True,
    {**GOOD, "v": 1},
    {key: value for key, value in GOOD.items() if key != "level"},
    {**GOOD, "integrity": "untrusted"}, {**GOOD, "integrity": "ORG"}, {**GOOD, "integrity": 2},
    {**GOOD, "integrity": ["org"]}, {**GOOD, "level": "top"}, {**GOOD, "level": None}, {**GOOD, "level": 1},
    {**GOOD, "readers": None}, {**GOOD, "readers": ""}, {**GOOD, "readers": "emma"}, {**GOOD, "readers": {}},
    {**GOOD, "readers": ["*"]}, {**GOOD, "readers": ["emma", "emma"]}, {**GOOD, "readers": ["em\nma"]},
    {**GOOD, "readers": [""]}, {**GOOD, "readers": [7]}, {**GOOD, "readers": ["\ud800"]},
    {**GOOD, "readers": ["x" * (MAX_NAME_CHARS + 1)]},
    {**GOOD, "categories": [str(n) for n in range(MAX_NAMES + 1)]}, {**GOOD, "categories": "all"},
    {**GOOD, "categories": False}, {**GOOD, "categories": [["pii"]]},
]  # fmt: skip


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_what_is_not_exactly_a_label_is_top(value: object) -> None:
    assert parse_label(GOOD) != TOP
    assert parse_label(value) == TOP


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"null", b"\xff", b'{"categories":[],"integrity":"user","level":"public","readers":"*"} ',
        b'{"categories":[],"integrity":"user","level":"secret","level":"public","readers":"*"}',
        b'{"integrity":"user","categories":[],"level":"public","readers":"*"}',
        b"[" * 2_000, b"[" * 600 + b"]" * 600,
    ],
)  # fmt: skip
def test_bytes_that_are_not_the_canonical_label_are_top(data: bytes) -> None:
    assert decode_label(data) == TOP


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(string.printable, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@given(JSON_VALUES | st.fixed_dictionaries({key: JSON_VALUES for key in GOOD}))
def test_parsing_never_raises_and_never_guesses(value: object) -> None:
    label = parse_label(value)
    if label != TOP:
        assert isinstance(value, dict)
        assert label.to_json()["level"] == value["level"]


@given(st.binary(max_size=40))
def test_decoding_never_raises(data: bytes) -> None:
    assert decode_label(data) == TOP
