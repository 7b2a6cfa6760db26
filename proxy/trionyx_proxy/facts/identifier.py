"""Strict reading of short names that are no network names: telephone numbers, names, revisions, handles.

Account numbers (`parse_iban`) are read in the catalog, which compares them with listed ones.
Source: ITU-T E.164 (telephone numbers), gitrevisions(7).
"""

from __future__ import annotations

import re

from trionyx_proxy.facts.script import has_hidden

MAX_NAME_CHARS = 128
MAX_REVISION_CHARS = 256
MAX_HANDLE_CHARS = 1_024

_PHONE = re.compile(r"\+?[0-9(](?:[ ./-]?[0-9()])*", re.ASCII)
# A leading `-` would be an option to the program that is given the revision.
_REVISION = re.compile(r"[^\s-]\S*")
_HANDLE = re.compile(r"h[a-z2-7]{15,64}|\u27e6trx:h[a-z2-7]{15,64}(?::[^\u27e6\u27e7]*)?\u27e7")


def parse_phone(text: str) -> str | None:
    """Return a telephone number as its digits, with a leading `+` if written; None if it is none."""
    if len(text) > 32 or not _PHONE.fullmatch(text):
        return None
    digits = re.sub(r"[^0-9]", "", text)
    return text[:1].strip("0123456789(") + digits if 3 <= len(digits) <= 15 else None


def is_name(text: str) -> bool:
    """Whether a text is one short name of a person, channel or label: one line, nothing hidden."""
    return 0 < len(text) <= MAX_NAME_CHARS and text == text.strip() and not has_hidden(text)


def is_revision(text: str) -> bool:
    """Whether a text can be handed to git as a revision: one word, no option, nothing hidden."""
    return len(text) <= MAX_REVISION_CHARS and _REVISION.fullmatch(text) is not None and not has_hidden(text)


def is_handle(text: str) -> bool:
    """Whether a text has the form of a handle or of its token; not whether this run has such a handle."""
    return len(text) <= MAX_HANDLE_CHARS and _HANDLE.fullmatch(text) is not None and not has_hidden(text)
