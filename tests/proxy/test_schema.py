"""The pinned schema: no unknown members, no coercion, defaults explicit, no references out, bounded work."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_proxy.arguments import canonical
from trionyx_proxy.errors import ArgumentError, UpstreamError
from trionyx_proxy.schema import PinnedSchema, descriptor_digest

pytestmark = pytest.mark.guarantee("G12")

SEND = {
    "type": "object",
    "properties": {
        "to": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "subject": {"type": "string", "maxLength": 20},
        "body": {"type": "string"},
        "flags": {"type": "object", "properties": {"urgent": {"type": "boolean"}}},
    },
    "required": ["to", "subject", "body"],
}
MAIL = {"to": ["a@b.c"], "subject": "hi", "body": "…"}


def accepts(schema: Any, value: Any) -> bool:
    try:
        PinnedSchema.pin(schema).apply(value)
    except ArgumentError as error:
        assert error.code == "schema"
        return False
    return True


@pytest.mark.parametrize(
    ("change", "where", "words"),
    [
        ({"bcc": ["x@y.z"]}, "", "does not declare"),
        ({"To": ["x@y.z"]}, "", "does not declare"),
        ({"__proto__": {}}, "", "does not declare"),
        ({"to": "a@b.c"}, "/to", "type"),
        ({"to": '["a@b.c"]'}, "/to", "type"),
        ({"to": [1]}, "/to/0", "type"),
        ({"to": []}, "/to", "minItems"),
        ({"subject": 7}, "/subject", "type"),
        ({"subject": "hunter2" * 9}, "/subject", "maxLength"),
        ({"subject": None}, "/subject", "type"),
        ({"flags": {"urgent": "yes"}}, "/flags/urgent", "type"),
        ({"flags": {"urgent": 1}}, "/flags/urgent", "type"),
        ({"flags": {"silent": True}}, "/flags", "does not declare"),
    ],
)
def test_what_the_schema_does_not_declare_is_refused_without_its_value(
    change: dict[str, Any], where: str, words: str
) -> None:
    pinned = PinnedSchema.pin(SEND)
    assert pinned.apply(MAIL) == MAIL
    with pytest.raises(ArgumentError, match=words) as caught:
        pinned.apply({**MAIL, **change})
    assert (caught.value.code, caught.value.pointer) == ("schema", where)
    assert "hunter2" not in str(caught.value)


def test_names_chosen_by_the_sender_never_reach_the_pointer() -> None:
    schema = {"type": "object", "properties": {"env": {"additionalProperties": {"type": "string"}}}}
    with pytest.raises(ArgumentError) as caught:
        PinnedSchema.pin(schema).apply({"env": {"hunter2": 1}})
    assert caught.value.pointer == "/env/*"


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_arguments_are_an_object(value: Any) -> None:
    assert not accepts({}, value)


A = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
B = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({}, [{}], [{"a": 1}]),
        ({"type": "object"}, [{}], [{"a": 1}]),
        ({"properties": {}}, [{}], [{"a": 1}]),
        ({"additionalProperties": True}, [{"a": 1}], []),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "integer"}}, [{"b": 1}], [{"b": "1"}]),
        ({"allOf": [A, B]}, [{"a": "", "b": ""}], [{"a": "", "b": "", "c": 1}, {"a": ""}]),
        ({"anyOf": [A, B]}, [{"a": ""}, {"a": "", "b": ""}], [{"a": "", "b": 1}, {"a": "", "c": ""}, {}]),
        ({"oneOf": [A, B]}, [{"a": ""}], [{"a": "", "b": ""}, {"a": "", "b": 1}]),
        ({"$ref": "#/$defs/A", "$defs": {"A": A}}, [{"a": ""}], [{"a": "", "b": ""}, {}]),
        (
            {"properties": {"x": {"$ref": "#/definitions/A"}}, "definitions": {"A": A}},
            [{"x": {"a": ""}}, {}],
            [{"x": {"a": "", "b": 1}}, {"x": {}}],
        ),
        (
            {"properties": {"x": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}}, "$defs": {"A": A}},
            [{"x": None}, {"x": {"a": ""}}],
            [{"x": {"a": "", "z": 1}}, {"x": 1}],
        ),
        (
            {"properties": {"x": {"type": "array", "items": A}}},
            [{"x": [{"a": ""}]}],
            [{"x": [{"a": "", "b": ""}]}],
        ),
        ({"properties": {"x": {"prefixItems": [A]}}}, [{"x": [{"a": ""}]}], [{"x": [{"a": "", "b": ""}]}]),
        ({"patternProperties": {"^x-": {"type": "string"}}}, [{"x-a": ""}], [{"y": ""}, {"x-a": 1}]),
        ({"properties": {"free": {"type": "object"}}}, [{"free": {"any": {"thing": 1}}}], [{"free": 1}]),
        (
            {
                "properties": {"k": {}},
                "if": {"properties": {"k": {"const": 1}}},
                "then": {"properties": {"l": {}}},
            },
            [{"k": 1, "l": 2}, {"k": 2}],
            [{"k": 2, "l": 2}],
        ),
        (
            {
                "properties": {"t": {"$ref": "#/$defs/T"}},
                "$defs": {
                    "T": {
                        "type": "object",
                        "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
                    }
                },
            },
            [{"t": {"kids": [{"kids": []}]}}],
            [{"t": {"kids": [{"kids": [], "x": 1}]}}],
        ),
        # A stricter branch under oneOf and not could let more through; the schema as announced still holds.
        (
            {"oneOf": [{"properties": {"a": A}}, {"properties": {"a": {"type": "object"}}}]},
            [],
            [{"a": {"a": "", "b": ""}}, {"a": {"a": ""}}],
        ),
        (
            {"properties": {"a": {"type": "object"}}, "not": {"properties": {"a": A}}},
            [],
            [{"a": {"a": "", "b": 1}}],
        ),
        (
            {"properties": {"n": {"type": "integer"}}},
            [{"n": 1}],
            [{"n": "1"}, {"n": True}, {"n": 1.5}, {"n": None}],
        ),
        ({"properties": {"f": {"format": "email"}}}, [{"f": "no mail"}], []),
    ],
)
def test_closing_sees_through_composition(schema: Any, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert accepts(schema, value), value
    for value in bad:
        assert not accepts(schema, value), value


# Small schemas over two names, nested and composed at random.
LEAVES = st.sampled_from(
    [{}, {"type": "string"}, {"type": "integer"}, {"const": 1}, {"type": "object"}, A, B]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["a", "b"]), inner, min_size=1).map(lambda p: {"properties": p}),
        st.tuples(st.sampled_from(["allOf", "anyOf", "oneOf"]), st.lists(inner, min_size=1, max_size=2)).map(
            lambda pair: {pair[0]: pair[1]}
        ),
        inner.map(lambda sub: {"not": sub}),
        inner.map(lambda sub: {"additionalProperties": sub}),
        st.tuples(inner, inner, inner).map(lambda t: {"if": t[0], "then": t[1], "else": t[2]}),
    ),
    max_leaves=5,
)
INSTANCES = st.recursive(
    st.sampled_from([1, "", None]),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, st.dictionaries(st.sampled_from(["a", "b", "c"]), INSTANCES, max_size=2))
def test_whatever_passes_fits_the_announced_schema(schema: Any, value: Any) -> None:
    if accepts(copy.deepcopy(schema), value):
        assert jsonschema.Draft202012Validator(schema).is_valid(value)
        if "additionalProperties" not in json.dumps(schema):
            assert not value.keys() - {"a", "b"}


DEFAULTS = {
    "type": "object",
    "properties": {
        "url": {"type": "string"},
        "force": {"type": "boolean", "default": False},
        "max_length": {"type": "integer", "default": 5000, "exclusiveMaximum": 1_000_000},
        "since": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "legacy": {"type": "string", "default": None},
        "opts": {"$ref": "#/$defs/Opts"},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Opts"}},
        "either": {"oneOf": [{"$ref": "#/$defs/Opts"}, {"type": "string"}]},
    },
    "required": ["url", "force"],
    "$defs": {"Opts": {"type": "object", "properties": {"depth": {"type": "integer", "default": 1}}}},
}


def test_defaults_are_made_explicit_wherever_an_object_is_present() -> None:
    pinned = PinnedSchema.pin(DEFAULTS)
    given_value = {"url": "u", "opts": {}, "rows": [{}, {"depth": 2}], "either": {}}
    before = copy.deepcopy(given_value)
    filled = pinned.apply(given_value)
    assert filled == {
        "url": "u",
        "force": False,
        "max_length": 5000,
        "since": None,
        "opts": {"depth": 1},
        "rows": [{"depth": 1}, {"depth": 2}],
        "either": {"depth": 1},
    }
    assert given_value == before
    assert pinned.apply(filled) == filled
    kept = pinned.apply({"url": "u", "force": True, "either": "x"})
    assert isinstance(kept, dict) and kept["force"] is True


def test_a_filled_value_is_checked_like_a_received_one() -> None:
    inner = {"type": "object", "default": {"x": "no"}, "properties": {"x": {"type": "integer"}}}
    nested = {"properties": {"o": inner}}
    assert not accepts(nested, {})
    assert accepts(nested, {"o": {"x": 1}})


def test_defaults_that_disagree_or_never_end_are_refused() -> None:
    two = {"allOf": [{"properties": {"a": {"default": 1}}}, {"properties": {"a": {"default": 2}}}]}
    assert not accepts(two, {})
    assert accepts(two, {"a": 3})
    endless = {
        "$ref": "#/$defs/N",
        "$defs": {"N": {"properties": {"n": {"$ref": "#/$defs/N", "default": {}}}}},
    }
    assert not accepts(endless, {})
    with pytest.raises(UpstreamError, match="default"):
        PinnedSchema.pin({"properties": {"a": {"type": "integer", "default": "7"}}})


@pytest.mark.parametrize(
    "schema",
    [
        True,
        [],
        None,
        "x",
        {"type": "strin"},
        {"type": 7},
        {"properties": []},
        {"properties": {"a": 1}},
        {"allOf": {}},
        {"minimum": "1"},
        {"required": "a"},
        {"exclusiveMinimum": True},
        {"$ref": "http://127.0.0.1:9/x"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "other.json"},
        {"$ref": "#nope"},
        {"$ref": "#/$defs/missing"},
        {"$ref": "#/x-hidden", "x-hidden": {}},
        {"$ref": 1},
        {"$ref": "#"},
        {"properties": {"a": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}},
        {"properties": {"a": {"$id": "http://x.example/"}}},
        {"$dynamicRef": "#a"},
        {"$anchor": "a"},
        {"$schema": "http://json-schema.org/draft-04/schema#"},
        {"$schema": "http://evil.example/meta"},
        {"$schema": 1},
        {"items": [{}]},
        {"dependencies": {}},
        {"allOf": [{"$ref": "#"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}},
        {"properties": {"a": {"pattern": "("}}},
        {"properties": {"a": {"pattern": "(?=x)y"}}},
        {"properties": {"a": {"pattern": "(a)\\1"}}},
        {"properties": {"a": {"pattern": "(a{1000}){1000}"}}},
        {"description": "x" * 70_000},
        {"enum": list(range(11_000))},
    ],
)
def test_schemas_outside_the_subset_are_not_pinned(schema: Any) -> None:
    with pytest.raises(UpstreamError) as caught:
        PinnedSchema.pin(schema)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 120


@pytest.mark.guarantee("G03")
def test_exponential_work_is_refused_before_anything_is_validated() -> None:
    doubling = {
        "$defs": {
            f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}, {"$ref": f"#/$defs/d{n + 1}"}]}
            for n in range(30)
        }
        | {"d30": {"type": "string"}},
        "$ref": "#/$defs/d0",
    }
    deep: dict[str, Any] = {"type": "object"}
    for _ in range(8):
        deep = {"allOf": [deep], "anyOf": [deep], "unevaluatedProperties": False}
    twice_below = {
        "$ref": "#/$defs/n",
        "$defs": {
            "n": {
                "allOf": [
                    {"properties": {"x": {"$ref": "#/$defs/n"}}},
                    {"properties": {"x": {"$ref": "#/$defs/n"}}},
                ]
            }
        },
    }
    for schema in (doubling, deep, twice_below):
        with pytest.raises(UpstreamError, match="work"):
            PinnedSchema.pin(schema)
    tree = {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"properties": {"left": {"$ref": "#/$defs/n"}, "right": {"$ref": "#/$defs/n"}}}},
    }
    assert accepts(tree, {"left": {"right": {}}})


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "pattern", ["^(a+)+$", "^(a|a)*$", "(x+x+)+y", "^(?:[ab]*a[ab]{12}c)$", "(.*)*$", "a{1,200}b"]
)
def test_catastrophic_patterns_end_at_once(pattern: str) -> None:
    pinned = PinnedSchema.pin({"properties": {"s": {"type": "array", "items": {"pattern": pattern}}}})
    began = time.thread_time()
    for text in ("a" * 65_000 + "!", "ab" * 32_000, "x" * 65_000):
        try:
            pinned.apply({"s": [text] * 4})
        except ArgumentError as error:
            assert error.pointer.startswith("/s/")
    assert time.thread_time() - began < 2  # measured: a few ms; a backtracking engine would need years


def test_real_dialects_are_served_alike() -> None:
    for dialect in (
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2020-12/schema",
    ):
        schema = {"$schema": dialect, "$id": "x", **A}
        assert accepts(schema, {"a": ""}) and not accepts(schema, {"a": "", "b": ""})


def test_a_descriptor_digest_ignores_order_and_nothing_else() -> None:
    one = {"name": "send", "description": "d", "inputSchema": SEND}
    assert descriptor_digest(one) == descriptor_digest(json.loads(json.dumps(one, sort_keys=True)))
    assert descriptor_digest(one) != descriptor_digest({**one, "description": "d "})
    assert descriptor_digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    with pytest.raises(ArgumentError):
        descriptor_digest({"x": float("nan")})


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.sampled_from(["url", "force", "opts", "zz"]), INSTANCES, max_size=3))
def test_filling_is_idempotent_and_only_adds(value: Any) -> None:
    pinned = PinnedSchema.pin(DEFAULTS)
    try:
        filled = pinned.apply(value)
    except ArgumentError:
        return
    assert canonical(pinned.apply(filled)) == canonical(filled)
    assert isinstance(filled, dict) and value.keys() <= filled.keys()


KEYWORDS = st.sampled_from(
    [
        {"pattern": "^a"},
        {"enum": ["aaaa", "bbbb"]},
        {"const": "aaaa"},
        {"minLength": 1},
        {"minLength": 3},
        {"maxLength": 4},
        {"maxLength": 3},
        {"type": "string"},
        {"type": "null"},
    ]
)


def inside(schema: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.builds(lambda one: {"properties": {"a": one}}, schema),
        st.builds(lambda one: {"additionalProperties": one}, schema),
        st.builds(lambda one: {"patternProperties": {"^a": one}}, schema),
        st.builds(lambda one: {"propertyNames": one}, schema),
        st.builds(lambda one: {"items": one}, schema),
        st.builds(lambda one: {"contains": one}, schema),
        st.builds(lambda one: {"prefixItems": [one]}, schema),
        st.builds(lambda one: {"not": one}, schema),
        st.builds(lambda one, other: {"if": one, "then": other}, schema, schema),
        st.builds(lambda one, other: {"anyOf": [one, other]}, schema, schema),
        st.builds(lambda one, other: {"oneOf": [one, other]}, schema, schema),
        st.builds(lambda one: {"dependentSchemas": {"a": one}}, schema),
        st.builds(lambda one: {"$ref": "#/$defs/d", "$defs": {"d": one}}, schema).map(
            lambda found: {**found, "$ref": "#/$defs/d"}
        ),
        st.sampled_from([{"uniqueItems": True}, {"const": {"a": "aaaa"}}, {"enum": [["aaaa", "b"]]}]),
    )


SCHEMAS = st.recursive(KEYWORDS, inside, max_leaves=5)
PLACES: list[tuple[tuple[str | int, ...], Any]] = [
    (("a",), lambda text: {"a": text}),
    (("a", 0), lambda text: {"a": [text, "b"]}),
    (("a", "a"), lambda text: {"a": {"a": text}}),
    (("b", 1), lambda text: {"b": ["aaaa", text]}),
]


def of_one_document(schema: Any) -> Any:
    """Move definitions to the root, where references find them."""
    found: dict[str, Any] = {}

    def moved(one: Any) -> Any:
        if isinstance(one, list):
            return [moved(inner) for inner in one]
        if not isinstance(one, dict):
            return one
        if "$defs" in one:
            name = f"d{len(found)}"
            found[name] = None
            found[name] = moved(one["$defs"]["d"])
            return {"$ref": f"#/$defs/{name}"}
        return {key: inner if key in ("const", "enum") else moved(inner) for key, inner in one.items()}

    return {**moved({"allOf": [schema], "additionalProperties": True}), "$defs": found}


@pytest.mark.guarantee("G31")
@settings(max_examples=600, deadline=None)
@given(SCHEMAS, st.sampled_from(PLACES), st.sampled_from(["bbbb", "abcd", "\u20aca", "\U0001f600"]))
def test_without_a_demand_the_answer_does_not_depend_on_the_text(
    schema: Any, place: tuple[tuple[str | int, ...], Any], other: str
) -> None:
    path, holding = place
    pinned = PinnedSchema.pin(of_one_document(schema))
    assert len(other.encode()) == len("aaaa")
    if not pinned.demands(path, 1, 4):
        assert outcome_of(pinned, holding("aaaa")) == outcome_of(pinned, holding(other))


def outcome_of(pinned: PinnedSchema, value: Any) -> tuple[str, str] | None:
    try:
        pinned.apply(value)
    except ArgumentError as error:
        return error.pointer, str(error)
    return None


@pytest.mark.parametrize(
    ("place", "fewest", "most", "is_demanded"),
    [
        (("body",), 0, 65_536, False),
        (("to", 0), 0, 65_536, False),
        (("subject",), 1, 20, False),
        (("subject",), 1, 21, True),
        (("title",), 1, 20, False),
        (("title",), 0, 20, True),
        (("kind",), 1, 1, True),
        (("tags", 0), 1, 1, True),
        (("parts", 0, "text"), 1, 1, False),
        (("parts", 0, "type"), 1, 1, True),
    ],
)
def test_a_schema_that_takes_any_text_of_that_length_demands_nothing(
    place: tuple[str | int, ...], fewest: int, most: int, is_demanded: bool
) -> None:
    text = {"type": "string"}
    more = {
        "title": {**text, "minLength": 1},
        "kind": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]},
        "tags": {"type": "array", "items": text, "uniqueItems": True},
        "parts": {"items": {"oneOf": [{"properties": {"type": {"const": "text"}, "text": text}}]}},
    }
    pinned = PinnedSchema.pin({**SEND, "properties": SEND["properties"] | more})  # type: ignore[operator]
    assert pinned.demands(place, fewest, most) is is_demanded
