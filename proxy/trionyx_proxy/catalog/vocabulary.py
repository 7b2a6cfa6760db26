"""The words of the catalog: effects, and the roles and types of arguments and result fields."""

from __future__ import annotations

from enum import StrEnum

Shape = tuple[str | None, ...]
"""A place in a document: member names from the root, None for any element of a list (or any member)."""

EFFECTS = frozenset({"read", "fetch", "local", "egress", "money", "book", "authz", "destroy"})


class Role(StrEnum):
    """What an argument does in a call; how much provenance it needs is up to the policy."""

    TARGET = "target"
    SELECTOR = "selector"
    SECRET = "secret"  # noqa: S105 - a role, not a password
    WHEN = "when"
    AMOUNT = "amount"
    TITLE = "title"
    CONTENT = "content"
    PLAIN = "plain"


class ArgumentType(StrEnum):
    """How a value is read: an argument into facts, a field of a result into a leaf."""

    EMAIL = "email"
    URL = "url"
    PATH = "path"
    HOST = "host"
    TEXT = "text"
    ID = "id"
    IBAN = "iban"
    PHONE = "phone"
    NAME = "name"
    REVISION = "revision"
    HANDLE = "handle"
    DATE = "date"
    AMOUNT = "amount"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    ENUM = "enum"


ADDRESSING = frozenset({ArgumentType.EMAIL, ArgumentType.URL, ArgumentType.HOST})
"""Types that name somebody or something outside."""
