"""Values in the one form in which they are compared, and the grammar that a short typed value has.

Two values of a kind are the same thing if and only if their normal forms are equal. Words are folded widely (width,
case, invisible characters); identifiers narrowly: what only looks like one is another or none, so a hidden character
in an address, and another case in an id, a path or a revision, make it a different value.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.catalog.member import parse_iban
from trionyx_proxy.facts.identifier import is_handle, is_revision, parse_phone
from trionyx_proxy.facts.network import parse_address, parse_host, parse_url
from trionyx_proxy.facts.path import parse_path
from trionyx_proxy.facts.script import has_hidden
from trionyx_proxy.provenance.times import normal_date

Scalar = str | int | float | bool

MAX_CONFORMING_CHARS = 64
"""A longer value can hold an instruction, whatever its grammar."""

MAX_CONFORMING_WORDS = 5
"""Runs of three or more letters in a conforming value; a sentence has more."""

MAX_VALUE_CHARS = 4_096
"""Longer values of any kind but text have no normal form."""

_MAX_MARKS = 30
# Some are two marks in one, and two of them are letters as well.
_MAY_BE_MARKS = re.compile(r"(?:[^\w\s\x00-\x7f]|[\uff9e\uff9f]){16}")

_SENTENCE_CHARS = 4 * MAX_CONFORMING_WORDS + 2

_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    "\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_PLAIN_MAIL = re.compile(
    r"[a-z0-9_]+(?:[.+-][a-z0-9_]+)*@(?:[a-z0-9]+(?:-[a-z0-9]+)*\.)+[a-z]{2,16}", re.ASCII
)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{4,30}")
_ID = re.compile(r"\S(?:.{0,254}\S)?")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")
_AMOUNT = re.compile(
    r"(-?)(?:[A-Z]{3} ?|[$\u20ac\u00a3\u00a5] ?)?([0-9][0-9.,'\u2019]*)(?: ?(?:[A-Z]{3}|[$\u20ac\u00a3\u00a5]))?"
)
_GROUPED = re.compile(
    r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{1,9})?|[0-9]{1,3}(?:['\u2019][0-9]{3})+(?:\.[0-9]{1,9})?"
)
_GROUPED_BY_DOTS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]{1,2}")
_DECIMAL_COMMA = re.compile(r"[0-9]{1,15},[0-9]{1,2}")
_DECIMAL = re.compile(r"[0-9]{1,16}(?:\.[0-9]{1,9})?")
_ESCAPE = re.compile(r"%[0-9a-fA-F]{2}")
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_NAME = re.compile(r"[\w#@&+'\u2019(][\w .,'\u2019&+()/#-]*")
_URL_END = ".,;:!?)]}*'\""
_SAFE = "%:/?#[]@!$&'()*+,;=~^`{}|\"<>\\"

_NUMERIC = frozenset({ArgumentType.ID, ArgumentType.INTEGER, ArgumentType.AMOUNT, ArgumentType.ENUM})


def visible(text: str) -> str:
    """Return a text as a person reads it: compatible characters unified, invisible ones removed."""
    if text.isascii():
        return _HIDDEN.sub("", text) if not text.isprintable() else text
    shown = _HIDDEN.sub("", unicodedata.normalize("NFKC", _stream_safe(text)))
    return unicodedata.normalize("NFKC", _stream_safe(shown))


def _stream_safe(text: str) -> str:
    """Return a text without the marks that follow `_MAX_MARKS` others: putting them in order takes quadratic time.

    Source: UAX #15, section 13.
    """
    if _MAY_BE_MARKS.search(text) is None:
        return text
    kept: list[str] = []
    marks = 0
    for character in text:
        parts = unicodedata.normalize("NFKD", character)
        after = next(
            (n for n, part in enumerate(reversed(parts)) if not unicodedata.combining(part)), len(parts)
        )
        marks = marks + after if after == len(parts) else after
        if marks <= _MAX_MARKS or after < len(parts):
            kept.append(character)
    return "".join(kept)


def fold(text: str) -> str:
    """Return a text without what readers overlook: width, invisible characters, case, runs of white space."""
    if text.isascii():
        return " ".join(visible(text).lower().split())
    for _ in range(4):  # folding case may undo a normal form, and the other way round
        folded = visible(visible(text).casefold())
        if folded == text:
            break
        text = folded
    return " ".join(text.split())


def normal(kind: ArgumentType, value: Scalar) -> str | None:
    """Return the form in which values of a kind are compared; None if it is not of that kind.

    Args:
        kind: how to read it.
        value: as in the arguments or in the result; one value, never a list of them.
    """
    if isinstance(value, str):
        return READERS[kind](value)
    if isinstance(value, bool):
        return ("true" if value else "false") if kind in (ArgumentType.BOOLEAN, ArgumentType.ENUM) else None
    if isinstance(value, int):
        return str(value) if kind in _NUMERIC else None
    exact = _exact(repr(value)) if kind is ArgumentType.AMOUNT else None
    return None if exact is None else amount(exact)


def conforms(kind: ArgumentType, value: Scalar, read: str = "") -> bool:
    """Tell whether a value may be shown although nobody vouches for it: short, of its grammar, and no sentence.

    Free text never conforms. A conforming name or id still holds a few words that somebody chose.

    Args:
        kind: of the field that it stands in.
        value: as in the result.
        read: `normal` of it where that is known already.
    """
    if not isinstance(value, str):
        return True
    if kind is ArgumentType.TEXT or kind is ArgumentType.HANDLE or len(value) > MAX_CONFORMING_CHARS:
        return False
    if not value.isprintable() or (not value.isascii() and has_hidden(value)) or value != value.strip():
        return False
    if not read and normal(kind, value) is None:
        return False
    if kind is ArgumentType.IBAN:
        return parse_iban(value) is not None
    # So many words of three letters need marks between them.
    if len(value) > _SENTENCE_CHARS and len(_LETTERS.findall(value)) > MAX_CONFORMING_WORDS:
        return False
    if kind is ArgumentType.ID or kind is ArgumentType.REVISION:
        return " " not in value
    if kind is ArgumentType.NAME or kind is ArgumentType.ENUM:
        return _NAME.fullmatch(value) is not None and "//" not in value
    return True


def amount(text: str) -> str | None:
    """Return an amount as an exact decimal, without its currency: `$1,200.50` is `1200.5`.

    A point with three digits after it is a decimal point; with a comma later on, it separates thousands.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        return None
    digits = match[2]
    if _GROUPED.fullmatch(digits):
        digits = re.sub(r"[,'\u2019]", "", digits)
    elif _GROUPED_BY_DOTS.fullmatch(digits):
        digits = digits.replace(".", "").replace(",", ".")
    elif _DECIMAL_COMMA.fullmatch(digits):
        digits = digits.replace(",", ".")
    elif not _DECIMAL.fullmatch(digits):
        return None
    return _exact(match[1] + digits)


def is_whole_url(text: str) -> bool:
    """Tell whether an address is all of it: no mark at its end that may belong to the sentence around it."""
    whole = text.strip()
    tail = whole[len(whole.rstrip(_URL_END)) :]
    return not tail or (tail.strip(")") == "" and whole.count("(") == whole.count(")"))


def origin_of_url(url: str) -> str | None:
    """Return scheme, host and port of a normal URL; None without a scheme. Source: RFC 6454 section 4."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}://{re.split(r'[/?#]', rest, maxsplit=1)[0]}" if separator and scheme else None


def readings(url: str) -> tuple[str, ...]:
    """Return the normal URLs that a trusted one vouches for: without a scheme it may be either web scheme."""
    if url.startswith("//"):
        return url, "https:" + url, "http:" + url
    scheme, _, rest = url.partition(":")
    return (url, rest) if scheme in ("http", "https") else (url,)


def _url(text: str) -> str | None:
    bare = text.strip().rstrip(_URL_END)
    has_scheme = "://" in bare.partition("?")[0]
    spelled = bare if has_scheme else "https://" + bare.removeprefix("//")
    url = parse_url(spelled)
    if url is None or url.userinfo or (not has_scheme and "." not in url.host.name):
        return None
    rest = spelled.partition("://")[2]
    tail = re.search(r"[/?#].*", rest)
    after = re.sub(r"^[^?#]*", "", tail[0]) if tail else ""
    host = f"[{url.host.name}]" if ":" in url.host.name else url.host.name
    usual = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}.get(url.scheme)
    port = "" if url.port in (0, usual) else f":{url.port}"
    scheme = f"{url.scheme}:" if has_scheme else ""
    whole = f"{scheme}//{host}{port}{url.path}{quote(after, safe=_SAFE)}"
    return _ESCAPE.sub(lambda match: match[0].upper(), whole)


def _email(text: str) -> str | None:
    lowered = text.lower()
    if len(lowered) <= 64 and _PLAIN_MAIL.fullmatch(lowered):
        return lowered
    address = parse_address(text)
    return None if address is None else address[0]


def _host(text: str) -> str | None:
    host = parse_host(text)
    return None if host is None else host.name


@lru_cache(maxsize=256)  # a run comes back to the same files
def _path(text: str) -> str | None:
    place = parse_path(text, ("/",))
    return None if place is None or place.control else place.path


def _id(text: str) -> str | None:
    is_plain = text.isprintable() and (text.isascii() or not has_hidden(text))
    return text if is_plain and _ID.fullmatch(text) else None


def _iban(text: str) -> str | None:
    compact = text.replace(" ", "").upper() if text.isascii() else ""
    return compact if _IBAN.fullmatch(compact) else None


def _phone(text: str) -> str | None:
    number = parse_phone(text.strip())
    # 00 is how a `+` is dialled in most countries.
    return "+" + number[2:] if number is not None and number.startswith("00") and len(number) > 5 else number


def _short_name(text: str) -> str | None:
    """Fold case only: whoever may choose a name makes another of hidden characters, width and spaces."""
    if len(text) > MAX_VALUE_CHARS:
        return None
    folded = fold(text)
    canonical = unicodedata.normalize("NFC", text)
    is_plain = visible(canonical) == canonical == " ".join(canonical.split())
    # No text from outside holds NUL.
    return (folded if is_plain else "\0" + text.removeprefix("\0")) if folded else None


def _exact(digits: str) -> str | None:
    try:
        number = Decimal(digits)
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > 40:
        return None
    return "0" if number == 0 else format(number.normalize(), "f")


READERS: Final[Mapping[ArgumentType, Callable[[str], str | None]]] = {
    ArgumentType.EMAIL: _email,
    ArgumentType.URL: lambda text: _url(text) if len(text) <= MAX_VALUE_CHARS else None,
    ArgumentType.PATH: lambda text: _path(text) if len(text) <= MAX_VALUE_CHARS else None,
    ArgumentType.HOST: _host,
    ArgumentType.TEXT: lambda text: fold(text) or None,
    ArgumentType.ID: _id,
    ArgumentType.IBAN: lambda text: _iban(text) if len(text) <= MAX_CONFORMING_CHARS else None,
    ArgumentType.PHONE: lambda text: _phone(text) if len(text) <= MAX_CONFORMING_CHARS else None,
    ArgumentType.NAME: _short_name,
    ArgumentType.REVISION: lambda text: text if is_revision(text) else None,
    ArgumentType.HANDLE: lambda text: text if is_handle(text) else None,
    ArgumentType.DATE: lambda text: normal_date(text) if len(text) <= MAX_CONFORMING_CHARS else None,
    ArgumentType.AMOUNT: lambda text: amount(text) if len(text) <= MAX_CONFORMING_CHARS else None,
    ArgumentType.INTEGER: lambda text: text if _INTEGER.fullmatch(text) and text != "-0" else None,
    ArgumentType.BOOLEAN: lambda text: text if text in ("true", "false") else None,
    ArgumentType.ENUM: _short_name,
}
"""How a text is read as each kind: its normal form, or None."""
