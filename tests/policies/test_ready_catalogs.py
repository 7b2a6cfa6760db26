"""The shipped catalogs: the strict reading takes each as it is written, and what outsiders write is never trusted."""

from __future__ import annotations

from typing import Any

import pytest

from trionyx_policies.bundle import Bundle
from trionyx_policies.proposal.inference import guess_relaying
from trionyx_proxy.catalog import EVERYTHING, ArgumentType, Catalog, Field, ToolEntry
from trionyx_proxy.catalog.field import read_shape
from trionyx_proxy.core.label import TOP, Integrity, parse_label

SECTIONS = ("calendar", "fetch", "files", "filesystem", "git", "github", "gmail", "imap", "mail", "postgres", "slack",
            "sqlite", "trionyx", "web")  # fmt: skip

OUTSIDERS = frozenset({"github", "gmail", "imap", "mail", "calendar", "slack", "fetch", "web"})
"""Sections that anybody may write into."""

PROSE = frozenset({"body", "content", "description", "fallback", "filename", "message", "patch", "path", "purpose",
                   "snippet", "subject", "summary", "text", "title", "topic", "displayName", "data"})  # fmt: skip
"""Last members under which a server keeps what its users write."""

OWN_WORDS = frozenset({("list_available_accounts", "/*/description"), ("list_email_tags", "/*/description")})
"""Prose that the operator wrote into the server's configuration."""


@pytest.fixture(scope="module")
def written(bundle: Bundle) -> dict[str, Any]:
    data: Any = bundle.data
    catalog: dict[str, Any] = data["trionyx"]["catalog"]
    return catalog


@pytest.fixture(scope="module")
def catalog(bundle: Bundle) -> Catalog:
    return Catalog.from_data(bundle.data["trionyx"])


def entries(written: dict[str, Any], catalog: Catalog) -> list[tuple[dict[str, Any], ToolEntry]]:
    found = []
    for section, server in written["servers"].items():
        for name, described in server["tools"].items():
            entry = catalog.tool(section, name)
            assert entry is not None, (section, name)
            found.append((described, entry))
    return found


def fields(written: dict[str, Any], catalog: Catalog) -> list[tuple[str, dict[str, Any], ToolEntry, Field]]:
    found = []
    for described, entry in entries(written, catalog):
        for pattern, text in described.get("fields", {}).items():
            shape = read_shape(pattern)
            assert shape is not None
            found.append((pattern, text, entry, entry.fields[shape]))
    return found


def test_every_section_has_a_version(written: dict[str, Any]) -> None:
    assert tuple(sorted(written["servers"])) == SECTIONS
    assert all(server["version"] >= 1 for server in written["servers"].values())
    assert set(written["sets"]) >= {"organisation"}


@pytest.mark.guarantee("G03")
def test_the_strict_reading_closes_nothing_that_is_shipped(written: dict[str, Any], catalog: Catalog) -> None:
    for described, entry in entries(written, catalog):
        tool = (entry.catalog, entry.name)
        assert len(entry.arguments) == len(described["args"]), tool
        assert entry.result == parse_label(described["result"]) != TOP, tool
        resource = described.get("resource")
        assert (entry.resource is None) == (resource is None), tool
        if entry.resource is not None and resource != {"args": [], "access": "both"}:
            assert entry.resource != EVERYTHING, tool
    for pattern, text, entry, field in fields(written, catalog):
        where = (entry.catalog, entry.name, pattern)
        assert (field.type, field.label) == (text["type"], parse_label(written["labels"][text["label"]])), (
            where
        )
        assert len(field.cases) == len(text.get("when", [])), where
        assert all(case["in"] in written["sets"] for case in text.get("when", [])), where


@pytest.mark.guarantee("G03")
def test_no_field_holds_trusted_prose_of_others(written: dict[str, Any], catalog: Catalog) -> None:
    for pattern, _, entry, field in fields(written, catalog):
        if (entry.name, pattern) in OWN_WORDS:
            continue
        where = (entry.catalog, entry.name, pattern)
        name = pattern.rpartition("/")[2]
        trusted = field.label.integrity < Integrity.PUBLIC
        if name in PROSE or (entry.catalog in OUTSIDERS and field.type is ArgumentType.TEXT):
            assert not trusted or entry.name == "list_allowed_senders", where
        if entry.catalog in OUTSIDERS and field.type in (ArgumentType.URL, ArgumentType.EMAIL):
            own = {"get_me", "list_available_accounts", "list_allowed_recipients", "manage-accounts",
                   "slack_get_user_profile"}  # fmt: skip
            assert not trusted or entry.name in own or pattern == "/url", where
        assert all(case.label.integrity >= Integrity.ORG for case in field.cases), where


def test_what_is_kept_can_be_read_as_kept(catalog: Catalog, written: dict[str, Any]) -> None:
    """Whatever a tool keeps of untrusted content lies in a resource that the section's reading tools name."""
    for section, server in written["servers"].items():
        found = [catalog.tool(section, name) for name in server["tools"]]
        resources = [entry.resource for entry in found if entry is not None and entry.resource is not None]
        assert any(it.reads for it in resources) or not any(it.writes for it in resources), section


@pytest.mark.guarantee("G07")
def test_only_tools_that_reach_somebody_named_take_secrets_out(
    catalog: Catalog, written: dict[str, Any]
) -> None:
    for described, entry in entries(written, catalog):
        named = {"email", "url", "host"} & {argument["type"] for argument in described["args"].values()}
        if entry.effect in ("egress", "fetch") and not named:
            assert described["clearance"]["level"] != "secret", (entry.catalog, entry.name)


@pytest.mark.guarantee("G30")
def test_what_passes_on_text_by_its_id_says_so(written: dict[str, Any]) -> None:
    tools = [
        (section, name, described.get("relays", False), named)
        for section, server in written["servers"].items()
        for name, described in server["tools"].items()
        for named in [guess_relaying(name, described["effect"]) is not None]
    ]
    assert {(section, name) for section, name, said, _ in tools if said} == {("imap", "forward_email")}
    assert [(section, name) for section, name, said, named in tools if named and not said] == []


@pytest.mark.parametrize(
    ("section", "tool", "effect"),
    [
        ("sqlite", "read_query", "read"),
        ("sqlite", "write_query", "destroy"),
        ("postgres", "query", "destroy"),
        ("github", "merge_pull_request", "destroy"),
        ("github", "create_or_update_file", "egress"),
        ("gmail", "create_filter", "authz"),
        ("gmail", "send_email", "egress"),
        ("calendar", "create-event", "book"),
        ("slack", "slack_post_message", "egress"),
        ("trionyx", "trionyx_reveal", "read"),
    ],
)
def test_effects_are_those_of_the_worst_use(catalog: Catalog, section: str, tool: str, effect: str) -> None:
    entry = catalog.tool(section, tool)
    assert entry is not None and entry.effect == effect


def test_colleagues_are_believed_where_the_server_says_who_wrote(catalog: Catalog) -> None:
    entry = catalog.tool("imap", "get_emails_content")
    assert entry is not None
    for name in ("body", "subject", "sender"):
        field = entry.field(("emails", None, name))
        assert field is not None and field.label.integrity is Integrity.PUBLIC
        (case,) = field.cases
        assert case.label.integrity is Integrity.ORG and case.field == "sender"
        assert case.members.holds("Jonas <jonas@corp.example>")
        assert not case.members.holds("jonas@corp.example.evil.example")
    message = catalog.tool("slack", "slack_get_channel_history")
    assert message is not None
    text = message.field(("messages", None, "text"))
    assert text is not None and [case.members.values for case in text.cases] == [
        frozenset()
    ]  # nobody, as shipped
