"""The forms in which listed names are compared: domains, e-mail addresses, account numbers, plain values.

A form that matches too little only withholds trust; none matches more than the very same name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

MAX_VALUE_CHARS = 256

_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
# Narrower than RFC 5321 on purpose: one bare address that every mail program reads alike.
_MAIL = re.compile(
    r"[a-z0-9_+'-]+(?:\.[a-z0-9_+'-]+)*@((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?)",
    re.ASCII,
)

# A name of letters, without anything that could itself be an address, a comment, a quote or an encoded word.
_SHOWN = re.compile(r"(?:[^\W_][\w .'-]*)? ?<([^<>\s]+)>")


def parse_iban(text: str) -> str | None:
    """Return an account number in upper case without spaces, or None if its check digits are wrong.

    Does not know the lengths that countries prescribe. Source: ISO 13616-1, ISO 7064 (mod 97-10).
    """
    if not text.isascii() or len(text) > 64 or text != text.strip():
        return None
    compact = text.replace(" ", "").upper()
    if not _IBAN.fullmatch(compact):
        return None
    digits = "".join(str(int(character, 36)) for character in compact[4:] + compact[:4])
    return compact if int(digits) % 97 == 1 else None


def listed_domain(text: str) -> str | None:
    """Return a listed domain, host or address in lower-case ASCII, or None."""
    local, at, domain = text.rpartition("@")
    try:
        ascii_domain = domain if domain.isascii() else domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    ascii_domain = ascii_domain.lower().removesuffix(".")
    if not ascii_domain or not local.isascii() or (at and not local):
        return None
    comparable = local.lower() + at + ascii_domain
    return comparable if comparable.isprintable() and " " not in comparable else None


def mail_domain(text: str) -> str | None:
    """Return the domain of one e-mail address, in lower case; None for anything else.

    The address may stand in angle brackets behind a plain name, as in the `From` of a message.
    """
    shown = _SHOWN.fullmatch(text) if "<" in text and len(text) <= MAX_VALUE_CHARS else None
    address = text if shown is None else shown[1]
    match = (
        _MAIL.fullmatch(address.lower()) if address.isascii() and len(address) <= MAX_VALUE_CHARS else None
    )
    return None if match is None else match[1]


def suffixes(domain: str) -> Iterator[str]:
    """Give a domain and the domains it lies in, the longest first."""
    labels = domain.split(".")
    for start in range(len(labels)):
        yield ".".join(labels[start:])


def listed_value(text: str) -> str | None:
    """Return the form in which a value is compared with a set's members, or None if it cannot be one."""
    if not text or len(text) > MAX_VALUE_CHARS or not text.isprintable() or text != text.strip():
        return None
    # Lower case, not case-folded, and canonical, not compatible: what only looks alike is somebody else.
    return parse_iban(text) or unicodedata.normalize("NFC", text).lower()
