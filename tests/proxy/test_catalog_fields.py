"""Fields, sets and resources of the catalog: as written, and nothing odd in them ever earns trust."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog import (
    EVERYTHING,
    ArgumentType,
    Catalog,
    Field,
    Names,
    Resource,
    ToolEntry,
    ValueSet,
)
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level, parse_label
from trionyx_proxy.facts.network import parse_address


def label(integrity: str, level: str = "internal") -> dict[str, Any]:
    return {"categories": [], "integrity": integrity, "level": level, "readers": "*"}


SETS: dict[str, Any] = {
    "organisation": {"domains": ["corp.example"]},
    "own_accounts": {"values": ["DE89 3704 0044 0532 0130 00", "Emma"]},
}
TOOL: dict[str, Any] = {
    "effect": "read",
    "args": {"/id": {"role": "selector", "type": "id"}, "/path": {"role": "target", "type": "path"}},
    "result": label("public"),
    "fields": {
        "/messages/*/id": {"type": "id", "label": label("system")},
        "/messages/*/sender": {"type": "email", "label": label("system")},
        "/messages/*/body": {
            "type": "text",
            "label": label("public"),
            "when": [{"field": "sender", "in": "organisation", "label": label("org", "public")}],
        },
        "/mails/*/sender": {
            "type": "email",
            "label": label("public"),
            "when": [{"field": "sender", "in": "organisation", "label": label("org")}],
        },
        "/mails/*/body": {
            "type": "text",
            "label": label("public"),
            "when": [{"field": "sender", "in": "organisation", "label": label("org")}],
        },
        "/by/*/*": {"type": "integer", "label": label("org")},
        "/by/*/count": {"type": "integer", "label": label("system")},
        "/by/a~1b/*": {"type": "name", "label": label("public", "public")},
        "": {"type": "name", "label": label("org")},
    },
    "resource": {"args": ["/path"], "access": "both"},
    "clearance": label("public", "secret"),
}
BODY, SENDER = ("messages", None, "body"), ("messages", None, "sender")
LEAVES = [*[(kind, None, name) for kind in ("messages", "mails") for name in ("id", "sender", "body", "new")],
          ("by", "x", "count"), ("by", "a/b", "z"), ("by", "x", "y"), ()]  # fmt: skip


LABELS: dict[str, Any] = {
    "inner": label("org"),
    "odd": {**label("system"), "integrity": "mine"},
    "none": None,
}


def read(tool: Any, sets: Any = SETS, labels: Any = LABELS) -> ToolEntry:
    data: Any = {"catalog": {"labels": labels, "sets": sets, "servers": {"s": {"tools": {"t": tool}}}}}
    entry = Catalog.from_data(data).tool("s", "t")
    assert entry is not None
    return entry


def field(**changes: Any) -> Field:
    """The body's field after changes to its description."""
    tool = copy.deepcopy(TOOL)
    tool["fields"]["/messages/*/body"] |= changes
    found = read(tool).field(BODY)
    assert found is not None
    return found


def worth(entry: ToolEntry, leaf: tuple[str | None, ...], sender: str) -> tuple[ArgumentType, Label]:
    """What a leaf is taken for, in a message of this sender."""
    found = entry.field(leaf)
    if found is None:
        return ArgumentType.TEXT, entry.result
    for case in found.cases:
        if case.members.holds(sender):
            return found.type, case.label
    return found.type, found.label


def test_fields_are_read_as_written() -> None:
    entry = read(TOOL)
    body = entry.field(BODY)
    assert body is not None and (body.type, body.label) == (ArgumentType.TEXT, parse_label(label("public")))
    (case,) = body.cases
    assert case.field == "sender" and case.label == parse_label(label("org", "public"))
    assert case.members == ValueSet(frozenset({"corp.example"}))
    assert entry.field(("messages", None)) is None and entry.field(("messages", None, "new")) is None
    assert entry.resource == Resource((("path",),), reads=True, writes=True)
    assert read({key: value for key, value in TOOL.items() if key != "resource"}).resource is None


def test_a_name_goes_before_any_name() -> None:
    entry = read(TOOL)
    integrities = {
        leaf: found.label.integrity.name if (found := entry.field(leaf)) else None
        for leaf in [
            ("by", "x", "count"),
            ("by", "x", "other"),
            ("by", "a/b", "count"),
            ("by", "a/b", None),
            (),
        ]
    }
    assert list(integrities.values()) == ["SYSTEM", "ORG", "PUBLIC", "PUBLIC", "ORG"]


def test_names_of_members_are_read_as_written() -> None:
    names = {"type": "email", "label": label("system")}
    tool = {**TOOL, "fields": {"/shared/*": {"type": "enum", "label": label("org"), "names": names}}}
    found = read(tool).field(("shared", None))
    assert found is not None and found.names == Names(ArgumentType.EMAIL, parse_label(label("system")))


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "names",
    [None, [], {}, {"type": "email"}, {"type": "poem", "label": label("system")},
     {"type": ["id"], "label": label("org")}, {"type": "email", "label": label("system", "secret")},
     {"type": "email", "label": "none", "more": 1}],
)  # fmt: skip
def test_odd_names_close_the_field(names: Any) -> None:
    tool = {**TOOL, "fields": {"/shared/*": {"type": "enum", "label": label("org"), "names": names}}}
    found = read(tool).field(("shared", None))
    assert found is not None and found.names is None
    assert (found.type, found.label) == (ArgumentType.TEXT, parse_label(label("public")))


@pytest.mark.guarantee("G03")
def test_only_a_place_for_any_member_has_names() -> None:
    names = {"type": "email", "label": label("system")}
    tool = {**TOOL, "fields": {"/shared": {"type": "enum", "label": label("org"), "names": names}}}
    found = read(tool).field(("shared",))
    assert found is not None and found.names is None and found.type is ArgumentType.TEXT


@pytest.mark.guarantee("G06")
def test_a_tool_with_fields_raises_no_label_before_its_result() -> None:
    assert read(TOOL).output == BOTTOM
    for nothing in ({}, None, [], "x", {"odd": TOOL["fields"][""]}):
        entry = read({**TOOL, "fields": nothing})
        assert entry.fields == {} and entry.output == entry.result == parse_label(label("public"))


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "changes",
    [
        {"type": "poem"},
        {"type": None},
        {"type": ["text"]},
        {"extra": 1},
        {"when": None},
        {"when": {}},
        {"when": [None]},
        {"when": [{"field": "sender", "in": "organisation", "label": label("org"), "not": 1}]},
        {"when": [{"field": 1, "in": "organisation", "label": label("org")}]},
        {"when": [{"field": "sender", "in": ["organisation"], "label": label("org")}]},
        {"when": [*TOOL["fields"]["/messages/*/body"]["when"], {"field": "sender", "in": "own_accounts"}]},
    ],
)
def test_an_odd_field_is_text_with_the_label_of_the_result(changes: dict[str, Any]) -> None:
    closed = field(**changes)
    assert (closed.type, closed.cases) == (ArgumentType.TEXT, ())
    assert parse_label(label("public")).flows_to(closed.label)


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "odd", [None, "public", {}, {**label("system"), "integrity": "mine"}, [label("user")]]
)
def test_an_unreadable_label_of_a_field_is_top(odd: JSON) -> None:
    assert field(label=odd) == Field(ArgumentType.TEXT, TOP)
    assert field(when=[{"field": "sender", "in": "organisation", "label": odd}]) == Field(
        ArgumentType.TEXT, TOP
    )


@pytest.mark.guarantee("G03")
def test_a_label_may_be_named() -> None:
    named = [{"field": "sender", "in": "organisation", "label": "inner"}]
    assert [case.label for case in field(when=named).cases] == [parse_label(label("org"))]
    for unknown in ("odd", "none", "Inner", "", "public"):
        assert field(label=unknown) == Field(ArgumentType.TEXT, TOP)
        assert field(when=[{**named[0], "label": unknown}]) == Field(ArgumentType.TEXT, TOP)
    for odd in (None, [], "inner", {"inner": "inner"}):
        tool = {**TOOL, "fields": {"/x": {"type": "id", "label": "inner"}}}
        assert read(tool, labels=odd).field(("x",)) == Field(ArgumentType.TEXT, TOP)


@pytest.mark.guarantee("G03")
def test_a_field_is_not_better_than_what_vouches_for_it() -> None:
    secret = field(type="name", label=label("public", "secret"), when=[])
    assert secret == Field(
        ArgumentType.TEXT, parse_label(label("public", "secret"))
    )  # above the result's label
    worse = {"field": "sender", "in": "own_accounts", "label": label("public", "secret")}
    assert field(when=[worse]).cases == ()
    claimed = field(when=[{"field": "sender", "in": "organisation", "label": label("user")}])
    assert [case.label.integrity for case in claimed.cases] == [Integrity.SYSTEM]  # the sender's own
    assert field(when=[{"field": "nickname", "in": "organisation", "label": label("org")}]).cases == ()
    tool = copy.deepcopy(TOOL)
    tool["fields"]["/messages/*"] = tool["fields"].pop("/messages/*/body")
    closed = read(tool).field(("messages", None))
    assert closed == Field(ArgumentType.TEXT, parse_label(label("public")))  # an element has no siblings


def in_organisation(field: str, integrity: str = "org") -> list[Any]:
    return [{"field": field, "in": "organisation", "label": label(integrity)}]


def described(sender: Any, body: Any) -> tuple[Field, Field]:
    """The sender's and the body's field where anybody may write either, but for these cases."""
    fields = {
        "/sender": {"type": "email", "label": label("public"), "when": sender},
        "/body": {"type": "text", "label": label("public"), "when": body},
        "/to/*": {"type": "email", "label": label("public"), "when": in_organisation("")},
    }
    entry = read({**TOOL, "fields": fields})
    assert [case.label.integrity for case in entry.fields["to", None].cases] == [Integrity.ORG]
    return entry.fields["sender",], entry.fields["body",]


@pytest.mark.guarantee("G03")
def test_a_listed_value_vouches_for_itself_and_its_siblings() -> None:
    for own in ("sender", ""):
        sender, body = described(in_organisation(own, "user"), in_organisation("sender"))
        assert [case.label.integrity for case in sender.cases] == [Integrity.ORG]  # and no more than that
        assert [case.label.integrity for case in body.cases] == [Integrity.ORG]


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "sender",
    [
        [],
        None,
        [{"field": "sender", "in": "own_accounts", "label": label("org")}],
        in_organisation("body"),
        [*in_organisation("sender"), *in_organisation("body")],
        [*in_organisation("sender"), None],
        in_organisation("sender", "public"),
    ],
)
def test_a_sibling_that_anybody_may_write_vouches_for_nothing(sender: JSON) -> None:
    assert described(sender, in_organisation("sender"))[1].cases == ()


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("a@corp.example", True),
        ("A.B+c@Dept.CORP.example", True),
        ("a@notcorp.example", False),
        ("a@corp.example.evil.example", False),
        ("corp.example", False),
        ("@corp.example", False),
        ("Emma <a@corp.example>", True),
        ("Emma M. O'Neil-Müller <a@corp.example>", True),
        ("<a@corp.example>", True),
        ("a@evil.example <a@corp.example>", False),
        ('"a@evil.example" <a@corp.example>', False),
        ("Emma <a@evil.example> <a@corp.example>", False),
        ("Emma <a@corp.example> a@evil.example", False),
        ("Emma, Tom <a@corp.example>", False),
        ("Emma (x) <a@corp.example>", False),
        ("=?utf-8?q?Emma?= <a@corp.example>", False),
        ("Emma <a@corp.example>, b@evil.example", False),
        ("a@evil.example,b@corp.example", False),
        ("a@evil.example b@corp.example", False),
        ("a@evil.example@corp.example", False),
        ("a%evil.example@corp.example", False),
        ("evil.example!a@corp.example", False),
        ('"a@evil.example"@corp.example', False),
        ("a@corp.example.", False),
        ("a@corp．example", False),
        ("a@corp.example\n", False),
        ("а@corp.example", False),
        (7, False),
        (None, False),
        ("de89370400440532013000", False),
        ("", False),
    ],
)
def test_an_organisation_holds_its_own_addresses_only(text: object, held: bool) -> None:
    assert ValueSet(domains=frozenset({"corp.example"})).holds(text) is held


@pytest.mark.parametrize(
    ("text", "held"),
    [("de89370400440532013000", True), ("DE89 3704 0044 0532 0130 00", True), ("DE89370400440532013001", False),
     ("emma", True), ("EMMA", True), ("Emma ", False), ("Ｅmma", False), ("Emma\u200b", False), ("Еmma", False),
     ("emma2", False),
     ("Emma\ufe0f", False)],
)  # fmt: skip
def test_a_listed_value_is_that_very_value(text: str, held: bool) -> None:
    case = field(when=[{"field": "sender", "in": "own_accounts", "label": label("org")}]).cases[0]
    assert case.members.holds(text) is held


@given(st.from_regex(r"\A[a-zA-Z0-9.@!%_+<> \"',-]{1,12}@([a-z0-9.-]{0,6}\.)?corp\.example>?\Z"))
def test_whoever_is_of_the_organisation_has_an_address_there(text: str) -> None:
    if ValueSet(domains=frozenset({"corp.example"})).holds(text):
        address = parse_address(text.rpartition("<")[2].removesuffix(">"))
        assert address is not None, text
        assert address[1] == "corp.example" or address[1].endswith(".corp.example")


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        {},
        "corp.example",
        {"domains": "corp.example"},
        {"domains": ["corp.example", 1]},
        {"domains": ["corp.example", ""]},
        {"domains": ["corp.example", "a@b.example"]},
        {"domains": ["corp.example"], "values": None},
        {"domains": ["corp.example"], "values": ["a\nb"]},
        {"domains": ["corp.example"], "except": ["x"]},
    ],
)
def test_an_odd_set_holds_nobody(odd: JSON) -> None:
    entry = read(TOOL, {**SETS, "organisation": odd})
    assert worth(entry, BODY, "a@corp.example") == (ArgumentType.TEXT, parse_label(label("public")))


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "odd",
    [None, [], "write", {}, {"args": ["/path"]}, {"access": "read"}, {"args": "/path", "access": "read"},
     {"args": ["/path"], "access": "append"}, {"args": ["/path"], "access": ["read"]},
     {"args": ["/other"], "access": "read"}, {"args": ["path"], "access": "read"}, {"args": [1], "access": "read"},
     {"args": ["/path"], "access": "read", "x": 1}],
)  # fmt: skip
def test_an_odd_resource_is_every_resource(odd: JSON) -> None:
    assert read({**TOOL, "resource": odd}).resource == EVERYTHING


GARBAGE: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 1)
    | st.sampled_from(["", "*", "x", "text", "user", "sender"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["type", "label", "when", "field", "in", "integrity", "domains", "values", "", "/x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document."""
    if path:
        yield path
    for key, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from spots(inner, (*path, key))


DOCUMENT: dict[str, Any] = {
    "tool": {key: TOOL[key] for key in ("result", "fields", "resource")},
    "sets": SETS,
}
SPOTS = list(spots(DOCUMENT))


def readable(path: tuple[Any, ...], garbage: Any) -> bool:
    """Whether this garbage is a proper description that says something else."""
    name = path[-1]
    return (
        (name == "type" and garbage in [kind.value for kind in ArgumentType])
        or (name in ("when", "fields", "organisation", "own_accounts", "sets") and garbage in ([], {}))
        or (name == "field" and garbage == "sender")
        or (name in ("domains", "values", 0) and path[0] == "sets")
        or (name == "integrity" and garbage == "user")
        or (name in ("categories", "readers") and garbage in ("*", []))
        or (path[0] == "sets" and isinstance(garbage, dict))
        or (name == "args" and garbage == [])
    )


@pytest.mark.guarantee("G03")
@example(path=("tool", "fields", "/messages/*/sender"), garbage=None)
@example(path=("tool", "fields", "/messages/*/body", "when", 0, "label", "integrity"), garbage="x")
@given(path=st.sampled_from(SPOTS), garbage=GARBAGE)
def test_garbage_earns_no_trust(path: tuple[Any, ...], garbage: Any) -> None:
    if readable(path, garbage):
        return
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = garbage
    if not isinstance(document["tool"], dict):
        return  # no tool at all
    before, after = read(TOOL), read({**TOOL, **document["tool"]}, document["sets"])
    for leaf in LEAVES:
        for sender in ("a@corp.example", "b@evil.example", "emma"):
            old_type, old = worth(before, leaf, sender)
            new_type, new = worth(after, leaf, sender)
            assert old.flows_to(new), (leaf, sender)
            assert new_type in (old_type, ArgumentType.TEXT)
    assert before.output.flows_to(after.output)
    assert after.resource in (before.resource, EVERYTHING)


@given(GARBAGE, GARBAGE, GARBAGE)
def test_any_data_at_all_gives_an_entry(odd: Any, sets: Any, resource: Any) -> None:
    for odd_args in (odd, {"/x": odd}, {"/x": {"role": odd, "type": odd}}):
        assert read({**TOOL, "args": odd_args}).arguments == {}
    entry = read({**TOOL, "fields": odd, "resource": resource}, sets)
    for found in entry.fields.values():
        assert all(case.label.flows_to(found.label) for case in found.cases)
    assert entry.result.level is Level.INTERNAL
