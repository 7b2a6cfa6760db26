"""The catalog: the shipped one as written, and everything odd closed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_policies.bundle import load_bundle
from trionyx_proxy.arguments import JSON
from trionyx_proxy.catalog import ArgumentType, Catalog, Role, ToolEntry, read_clearance
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level
from trionyx_proxy.facts import compute

INTERNAL = {"categories": "*", "integrity": "public", "level": "internal", "readers": "*"}
SECRET = {"categories": "*", "integrity": "public", "level": "secret", "readers": "*"}
PUBLIC = {"categories": [], "integrity": "public", "level": "public", "readers": "*"}
DATA: dict[str, Any] = {
    "catalog": {
        "servers": {
            "mail": {
                "tools": {
                    "send": {
                        "effect": "egress",
                        "args": {
                            "/to/*": {"role": "target", "type": "email"},
                            "/a~1b": {"role": "content", "type": "text"},
                        },
                        "result": PUBLIC,
                        "clearance": SECRET,
                    },
                    "post": {"effect": "egress", "args": {}, "result": PUBLIC, "clearance": SECRET},
                }
            },
            "web": {
                "tools": {
                    "fetch": {
                        "effect": "fetch",
                        "args": {"/url": {"role": "target", "type": "url"}},
                        "result": PUBLIC,
                        "clearance": SECRET,
                    }
                }
            },
            "files": {
                "tools": {
                    name: {
                        "effect": effect,
                        "args": {"/path": {"role": "target", "type": "path"}},
                        "result": PUBLIC,
                        "clearance": TOP.to_json(),
                    }
                    for name, effect in (("write", "local"), ("read", "read"), ("remove", "destroy"))
                }
            },
        }
    },
    "clearances": {
        "default": INTERNAL,
        "domains": {"corp.example": SECRET, "guests.corp.example": PUBLIC, "evil.example": BOTTOM.to_json()},
        "addresses": {"Ceo@Partner.Example": SECRET},
        "hosts": {"api.partner.example": SECRET, "203.0.113.7": SECRET, "7": BOTTOM.to_json()},
    },
    "paths": {
        "files": {
            "roots": ["/"],
            "zones": [
                {"prefix": "/shared", "label": INTERNAL, "write": INTERNAL},
                {"prefix": "/shared/drop", "label": PUBLIC, "write": SECRET},
                {"prefix": "/secrets", "label": SECRET},
            ],
        }
    },
}


def level(catalog: Catalog, section: str, name: str, arguments: JSON) -> Label:
    entry = catalog.tool(section, name)
    assert entry is not None
    return catalog.clearance(entry, compute(arguments, entry))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.from_data(DATA)


def test_an_entry_holds_what_the_data_says(catalog: Catalog) -> None:
    entry = catalog.tool("mail", "send")
    assert entry is not None and entry.effect == "egress"
    assert (
        entry.arguments["to", None].role is Role.TARGET and entry.arguments["a/b",].type is ArgumentType.TEXT
    )
    assert entry.containers == {(), ("to",)}
    assert entry.output == Label(Integrity.PUBLIC) and catalog.names("mail") == {"send", "post"}


@pytest.mark.guarantee("G21")
def test_what_is_not_described_is_not_a_tool(catalog: Catalog) -> None:
    assert catalog.tool("mail", "Send") is None and catalog.tool("files", "send") is None
    data = copy.deepcopy(DATA)
    tools = data["catalog"]["servers"]["mail"]["tools"]
    tools |= {
        "a": None,
        "b": {},
        "c": {**tools["send"], "effect": "harmless"},
        "d": {**tools["send"], "effect": ["read"]},
    }
    assert Catalog.from_data(data).names("mail") == {"send", "post"}


@pytest.mark.guarantee("G07")
@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (["jonas@corp.example"], Level.SECRET),
        (["JONAS@Corp.Example"], Level.SECRET),
        (["x@dept.corp.example"], Level.SECRET),
        (["x@guests.corp.example"], Level.PUBLIC),
        (["x@a.guests.corp.example"], Level.PUBLIC),
        (["x@notcorp.example"], Level.INTERNAL),
        (["x@corp.example.net"], Level.INTERNAL),
        (["ceo@partner.example"], Level.SECRET),
        (["cfo@partner.example"], Level.INTERNAL),
        (["jonas@corp.example", "x@y.example"], Level.INTERNAL),
        (["jonas@corp.example", "x@guests.corp.example"], Level.PUBLIC),
        ([], Level.INTERNAL),
    ],
)
def test_mail_is_cleared_for_its_least_cleared_recipient(
    catalog: Catalog, to: list[JSON], expected: Level
) -> None:
    assert level(catalog, "mail", "send", {"to": to}).level is expected


@pytest.mark.guarantee("G07")
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.partner.example/x", SECRET),
        ("https://v2.api.partner.example/x", SECRET),
        ("https://partner.example/", INTERNAL),
        ("https://www.corp.example/", SECRET),
        ("https://203.0.113.7/", SECRET),
        ("https://1.203.0.113/", INTERNAL),
        ("https://198.51.100.7/", INTERNAL),
        ("https://a.evil.example/", BOTTOM.to_json()),
        ("https://corp.example\\@evil.example/", BOTTOM.to_json()),
    ],
)
def test_a_fetch_is_cleared_for_its_host(catalog: Catalog, url: str, expected: JSON) -> None:
    assert level(catalog, "web", "fetch", {"url": url}) == read_clearance(expected).meet(
        read_clearance(SECRET)
    )


@pytest.mark.guarantee("G07")
@pytest.mark.parametrize(
    ("tool", "path", "expected"),
    [
        ("write", "/notes/a", TOP.to_json()),
        ("write", "/shared/a", INTERNAL),
        ("write", "/shared", INTERNAL),
        ("write", "/SHARED/a", INTERNAL),
        ("write", "/ｓhared/a", INTERNAL),
        ("write", "/notes/../shared/a", INTERNAL),
        ("write", "//shared/./a/", INTERNAL),
        ("write", "/shared2/a", TOP.to_json()),
        ("write", "/shared/drop/a", SECRET),
        ("write", "/secrets/a", TOP.to_json()),
        ("remove", "/shared/a", INTERNAL),
        ("read", "/shared/a", TOP.to_json()),
        ("write", "/../etc/passwd", BOTTOM.to_json()),
        ("write", "shared/a", BOTTOM.to_json()),
        ("write", "/shared\\a", BOTTOM.to_json()),
    ],
)
def test_a_write_is_cleared_for_its_zone(catalog: Catalog, tool: str, path: str, expected: JSON) -> None:
    assert level(catalog, "files", tool, {"path": path}) == read_clearance(expected)


def test_an_egress_without_a_named_sink_keeps_the_tools_own_clearance(catalog: Catalog) -> None:
    assert level(catalog, "mail", "post", {}).level is Level.SECRET
    assert level(catalog, "mail", "post", {"x": 1}) == BOTTOM  # uncatalogued


@pytest.mark.guarantee("G06")
@pytest.mark.parametrize(
    "odd", [None, "top", {}, {**SECRET, "level": "Secret"}, {**SECRET, "extra": 1}, [SECRET]]
)
def test_unreadable_labels_close(odd: JSON) -> None:
    assert read_clearance(odd) == BOTTOM
    assert read_clearance(TOP.to_json()) == TOP  # type: ignore[arg-type]  # list[str] is a list[JSON] that is only read
    data = copy.deepcopy(DATA)
    for part in ("result", "clearance"):
        data["catalog"]["servers"]["mail"]["tools"]["send"][part] = odd
    entry = Catalog.from_data(data).tool("mail", "send")
    assert entry is not None and (entry.result, entry.output, entry.clearance) == (TOP, TOP, BOTTOM)


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    ("section", "name", "key", "odd"),
    [
        ("clearances", "domains", "corp.example", None),
        ("clearances", "domains", "a@b@", SECRET),
        ("clearances", "domains", "", SECRET),
        ("clearances", "domains", "\udcff", SECRET),
        ("clearances", "addresses", "@corp.example", SECRET),
    ],
)
def test_a_table_with_an_unreadable_entry_permits_nothing_through_it(
    section: str, name: str, key: str, odd: Any
) -> None:
    data = copy.deepcopy(DATA)
    data[section][name][key] = odd
    assert level(Catalog.from_data(data), "mail", "send", {"to": ["jonas@corp.example"]}) == BOTTOM


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize("missing", ["default", "domains", "addresses", "hosts"])
def test_a_missing_table_permits_nothing_through_it(missing: str) -> None:
    clearances = {name: table for name, table in DATA["clearances"].items() if name != missing}
    catalog = Catalog.from_data({**DATA, "clearances": clearances})
    mail = level(catalog, "mail", "send", {"to": ["x@unknown.example"]})
    web = level(catalog, "web", "fetch", {"url": "https://unknown.example/"})
    assert BOTTOM in (mail, web) and (missing in ("addresses", "hosts") or mail == web == BOTTOM)


def test_listed_names_of_other_scripts_are_compared_in_ascii() -> None:
    data = copy.deepcopy(DATA)
    data["clearances"]["domains"]["Bücher.Example"] = BOTTOM.to_json()
    assert level(Catalog.from_data(data), "mail", "send", {"to": ["x@xn--bcher-kva.example"]}) == BOTTOM


def test_odd_places_close(catalog: Catalog) -> None:
    for paths in ({"files": {"roots": "/"}}, {"files": {"roots": ["/"], "zones": "x"}}, {},
                  {"files": {"roots": ["/"], "zones": [{"prefix": 1}]}}):  # fmt: skip
        data = {**DATA, "paths": paths}
        assert level(Catalog.from_data(data), "files", "write", {"path": "/notes/a"}) == BOTTOM


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just(SECRET),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "catalog",
                    "servers",
                    "mail",
                    "tools",
                    "send",
                    "effect",
                    "args",
                    "clearances",
                    "domains",
                    "default",
                    "paths",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSONS)
def test_any_data_at_all_gives_a_catalog(data: Any) -> None:
    assert Catalog.from_data(data).tool("mail", "none") is None


@settings(max_examples=200, deadline=None)
@given(JSONS)
def test_odd_facts_never_clear_more_than_the_tool(facts: Any) -> None:
    catalog = Catalog.from_data(DATA)
    for section, name in (("mail", "send"), ("web", "fetch"), ("files", "write")):
        entry = catalog.tool(section, name)
        assert isinstance(entry, ToolEntry)
        for named in ("recipients", "urls", "paths"):
            label = catalog.clearance(entry, {"invalid": [], named: facts})
            assert label.flows_to(entry.clearance)
            if (
                facts not in ([], None)
                and named == {"mail": "recipients", "web": "urls", "files": "paths"}[section]
            ):
                assert label == BOTTOM


def test_the_shipped_bundle_classifies_the_demo() -> None:
    catalog = Catalog.from_data(load_bundle().data["trionyx"])
    assert (
        level(catalog, "mail", "send", {"to": ["jonas@corp.example"], "subject": "", "body": ""}).level
        is Level.SECRET
    )
    assert (
        level(catalog, "mail", "send", {"to": ["drop@evil.example"], "subject": "", "body": ""}).level
        is Level.INTERNAL
    )
    assert level(catalog, "files", "write", {"path": "/shared/x", "content": ""}).integrity is Integrity.ORG
    assert level(catalog, "web", "fetch", {"url": "https://collect.evil.example/"}).level is Level.INTERNAL
