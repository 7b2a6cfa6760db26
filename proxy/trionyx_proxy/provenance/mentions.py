"""What a trusted text names: its typed values, and what ids are ids of.

A prompt is written by a person, so values are found inside sentences; each is taken whole, at its own borders, and
never as a part of a longer one. A number in prose is an amount, and an id only after a word that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.catalog.member import parse_iban
from trionyx_proxy.provenance import times
from trionyx_proxy.provenance.terms import LEADING, STOP_WORDS, TRAILING
from trionyx_proxy.provenance.values import amount, normal, origin_of_url, readings, visible

Mention = tuple[str, str]
"""A kind and a normal value. Kinds: those of `ArgumentType`, and `time`, `origin`, `id:<thing>`."""

MAX_MENTIONS = 4_096

MAX_ASKED_CHARS = 100_000
"""Characters of anybody's text that are looked through for a value."""

_THINGS = (
    "file document doc attachment",
    "transaction payment transfer",
    "event meeting appointment",
    "email mail message",
    "issue bug ticket",
    "pr pull request",
    "order invoice",
    "user customer account contact",
    "booking reservation",
)
_THING = {word: words.split()[0] for words in _THINGS for word in words.split()} | {"pull request": "pr"}
_GENERIC = frozenset("id ids uid key number no nr num item record entry row ref reference".split())
_NAME_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ACTS = frozenset(
    "get list read show view open fetch find search query lookup retrieve load download browse describe resolve "
    "check create add new make insert put write save store upload append update edit modify change set rename move "
    "copy patch delete remove drop destroy clear archive cancel close send reply forward submit "
    "publish share all by".split()
)
"""What the names of tools say is done; it is no thing that an id could be of."""
_OTHER_THINGS = frozenset(
    "task note comment post thread draft version page case room flight product job run build commit entry card".split()
)

_MAIL = re.compile(r"(?<![\w.!#$%&*+/=?^`{|}~@-])[A-Za-z0-9_+'.-]{1,64}@[A-Za-z0-9.-]{1,253}")
_LINK = re.compile(r"(?:https?|ftp|wss?)://[^\s<>\"`\u2018-\u201f\u00ab\u00bb]+", re.IGNORECASE)
_BARE_LINK = re.compile(
    r"(?<![\w@./:+-])(?:www\.(?:[\w-]+\.)+[a-z]{2,}|(?:[a-z0-9-]+\.)+(?:com|org|net|edu|gov|int|eu|uk|de|ch|at|fr|us|example)(?=[/?:\s.,;!)'\"]|$))"
    r"(?::[0-9]{1,5})?(?:[/?][^\s<>\"`\u2018-\u201f\u00ab\u00bb]*)?",
    re.IGNORECASE,
)
# `our website www.a.example.They say`: a person forgot the space after the full stop.
_ENDED_SENTENCE = re.compile(r"(www\.(?:[a-z0-9-]+\.)+[a-z]{2,})\.[A-Z][a-z]{2,}(?![\w.-]*\.[a-z])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{1,4}){1,8}")
_PHONE = re.compile(r"(?<![\w.,$\u20ac\u00a3])(?:\+|00)?\(?[0-9][0-9 ()./-]{4,20}[0-9](?![\w,])")
_CURRENCY = "$\u20ac\u00a3\u00a5"
_NUMBER = re.compile(
    # Bounded: every quotation mark in a run of digits is a place to begin.
    rf"(?<![\w.,:/#+-])(?<!\w')(?:[A-Z]{{3}} ?|[{_CURRENCY}] ?)?[0-9][0-9.,'\u2019]{{0,40}}[0-9]?"
    rf"(?:(?=[.,;:!?)\]%]?(?:\s|$))|(?= ?[{_CURRENCY})%]))"
)
_NEGATIVE = re.compile(r"(?<!\S)-[0-9][0-9.,]*")
_WORD_AND_NUMBERS = re.compile(
    r"(?:\b(pull request|[a-z]+?)s?\b[\s:]*(?:(?:id|ids|number|numbers|no|nr)\b\.?[\s:]*)?[#'\"\u2018\u201c]?|#)"
    r"([0-9]{1,18}(?:\s*(?:,|and|or|&)\s*(?:and\s+)?#?[0-9]{1,18})*)(?![\w%:/-]|[.,][0-9])"
)
_QUOTED = re.compile(
    r"\"([^\"\n]{1,256})\"|'([^'\n]{1,256})'(?!\w)|`([^`\n]{1,256})`|\u201c([^\u201d\n]{1,256})\u201d|\u2018([^\u2019\n]{1,256})\u2019"
)
_DIGIT = re.compile("[0-9]")
_INNER_POINT = re.compile(r"\.[^ \t\n\r]")
_RAW = re.compile(r"[^\s<>\"`|\u2018-\u201f\u00ab\u00bb;]+")


def named_values(text: str) -> set[Mention]:
    """Return every typed value that a prompt names; at most `MAX_MENTIONS`, and then an arbitrary part of them."""
    shown = visible(text)
    lowered = shown.lower()
    found: set[Mention] = set()
    for kind in (ArgumentType.EMAIL, ArgumentType.URL, ArgumentType.IBAN, ArgumentType.PATH):
        found.update(_typed(kind, shown))
    for match in _ENDED_SENTENCE.finditer(shown):
        found.update(_link(match[1]))
    taken = _taken(lowered)
    found.update(_dates(lowered))
    found.update(("time", time) for time in times.implied_times(lowered))
    found.update(_typed(ArgumentType.PHONE, _without(shown, taken)))
    rest = _without(lowered, taken)
    numbered = list(_numbered(rest))
    for _, thing_named, number in numbered:
        found |= {(f"id:{thing_named}", number), ("id", number)}
    # The digits of an id, an account or a telephone number are no amounts.
    taken += [span for span, _, _ in numbered]
    taken += [match.span() for match in _IBAN.finditer(shown) if any(_accounts(match[0]))]
    taken += [match.span() for match in _PHONE.finditer(_without(shown, taken)) if match[0][0] in "+0("]
    found.update(_amounts(_without(shown, taken)))
    found.update(_ids(shown))
    return found if len(found) <= MAX_MENTIONS else set(sorted(found)[:MAX_MENTIONS])


def may_mention(kind: str, text: str) -> bool:
    """Tell cheaply whether a text could mention a value of a kind; most texts mention none."""
    match kind:
        case "email":
            return "@" in text
        case "url" | "host" | "origin":
            return "." in text and ("://" in text or _has_inner_point(text))
        case "path":
            return "/" in text or ("." in text and _has_inner_point(text))
        case "time":
            return _DIGIT.search(text) is not None or "noon" in text or "mid" in text
    return _DIGIT.search(text) is not None


def _has_inner_point(text: str) -> bool:
    # Other scripts have points of their own, and characters that are not seen.
    return not text.isascii() or _INNER_POINT.search(text) is not None


def mentioned_values(kind: str, text: str) -> set[Mention]:
    """Return the values of one kind that a text of the organisation mentions: addresses, accounts, dates, paths.

    Amounts, ids and names count only in fields of their own.
    """
    if kind == "date":
        return set(_dates(visible(text).lower()))
    if kind == "time":
        return {("time", time) for time, _ in times.times(visible(text).lower())}
    if kind in ("host", "origin"):
        kind = "url"
    try:
        return set(_typed(ArgumentType(kind), visible(text)))
    except ValueError:
        return set()


def in_order(kind: ArgumentType, text: str) -> list[str]:
    """Return the values of one kind that a text mentions, each once, in the order in which they stand there.

    Args:
        kind: EMAIL, URL, IBAN, PHONE, DATE, AMOUNT or INTEGER; of any other kind there are none.
        text: anybody's; what stands behind `MAX_ASKED_CHARS` is not looked at.
    """
    shown = visible(text[:MAX_ASKED_CHARS])
    match kind:
        case ArgumentType.DATE:
            spans = sorted(times.dates(shown.lower()), key=lambda found: found[1])
            found = [("date", day) for day, _ in spans]
        case ArgumentType.AMOUNT | ArgumentType.INTEGER:
            found = list(_amounts(_without(shown, _taken(shown.lower()))))
        case _:
            found = list(_typed(kind, shown))
    return list(dict.fromkeys(value for name, value in found[:MAX_MENTIONS] if name == kind.value))


def _typed(kind: ArgumentType, text: str) -> Iterator[Mention]:
    match kind:
        case ArgumentType.EMAIL:
            for match in _MAIL.finditer(text) if "@" in text else ():
                address = normal(kind, match[0].rstrip(".'-").lstrip("'"))
                if address is not None:
                    yield "email", address
        case ArgumentType.URL:
            yield from _links(text)
        case ArgumentType.IBAN:
            for match in _IBAN.finditer(text):
                yield from _accounts(match[0])
        case ArgumentType.PHONE:
            for match in _PHONE.finditer(text):
                number = normal(kind, match[0].strip())
                if number is not None and len(number) >= 7:
                    yield "phone", number
        case ArgumentType.PATH:
            for word in _raw_words(text):
                if (
                    "/" in word.strip("/")
                    or word.startswith("/")
                    or re.fullmatch(r"[^/@:]+\.[A-Za-z0-9]{1,8}", word)
                ):
                    place = normal(kind, word)
                    if place is not None and "://" not in word:
                        yield "path", place


def _links(text: str) -> Iterator[Mention]:
    spans: list[tuple[int, int]] = []
    for match in _LINK.finditer(text) if "://" in text else ():
        spans.append(match.span())
        yield from _link(match[0])
    for match in _BARE_LINK.finditer(_without(text, spans)) if "." in text else ():
        yield from _link(match[0])


def _link(written: str) -> Iterator[Mention]:
    # `it's 'https://a.example/x'.`: a quotation mark may be part of an address, but rarely is at its end.
    url = normal(ArgumentType.URL, written)
    if url is None:
        return
    for reading in readings(url):
        yield "url", reading
        if (origin := origin_of_url(reading)) is not None:
            yield "origin", origin
            host = origin.partition("://")[2]
            yield "host", re.sub(r":[0-9]+$", "", host).strip("[]")


def _accounts(written: str) -> Iterator[Mention]:
    """Yield the account numbers that a run of groups may begin with: spaced ones only with right check digits."""
    groups = written.split(" ")
    whole = normal(ArgumentType.IBAN, groups[0])
    if whole is not None and len(whole) >= 12:
        yield "iban", whole
    for end in range(2, len(groups) + 1):
        checked = parse_iban(" ".join(groups[:end]))
        if checked is not None:
            yield "iban", checked


def _dates(lowered: str) -> Iterator[Mention]:
    for day, _ in times.dates(lowered):
        yield "date", day


def _amounts(text: str) -> Iterator[Mention]:
    for match in (*_NUMBER.finditer(text), *_NEGATIVE.finditer(text)):
        number = amount(match[0].rstrip(".,'\u2019"))
        if number is not None:
            yield "amount", number
            if "." not in number:
                yield "integer", number


def _numbered(lowered: str) -> Iterator[tuple[tuple[int, int], str, str]]:
    """Yield the numbers that a word before them makes ids: the span of both, what they number, and each number."""
    for match in _WORD_AND_NUMBERS.finditer(lowered):
        named = _thing(match[1])
        if named is not None:
            for number in re.findall(r"[0-9]+", match[2]):
                yield match.span(), named, number


def _ids(shown: str) -> Iterator[Mention]:
    for word in _raw_words(shown):
        if len(word) > 256 or word.lower() in STOP_WORDS:
            continue
        quoted = " " in word
        if normal(ArgumentType.REVISION, word) is not None and not word.isdigit():
            yield "revision", word
        if word.replace(".", "").replace(",", "").isdigit() and not quoted:
            continue
        if normal(ArgumentType.ID, word) is not None and not re.fullmatch(
            r"[0-9]+(?:st|nd|rd|th|am|pm|h|k|m|%|x)", word.lower()
        ):
            yield "id", word


def _thing(word: str | None) -> str | None:
    """Return what a word before a number says the number names: a thing, `*` for any, None for none."""
    if word is None or word in _GENERIC:
        return "*"
    for form in (word, word.removesuffix("s")):
        if form in _GENERIC:
            return "*"
        if form in _THING:
            return _THING[form]
        if form in _OTHER_THINGS:
            return form
    return None


def thing(word: str) -> str:
    """Return the name under which ids of a thing are kept: `files` and `document` are the thing `file`.

    Empty for a word that names no particular thing.
    """
    lowered = word.lower()
    if lowered in _GENERIC or lowered in STOP_WORDS:
        return ""
    for form in (lowered, lowered.removesuffix("s"), lowered.removesuffix("es")):
        if form in _THING or form in _OTHER_THINGS:
            return _THING.get(form, form)
    if lowered.endswith("ies"):
        return lowered[:-3] + "y"
    return lowered[:-1] if lowered.endswith("s") and not lowered.endswith("ss") else lowered


def is_numbering(name: str | None) -> bool:
    """Tell whether a member's name says that its numbers are ids, as `id` and `number` do and `comments` does not."""
    words = _NAME_WORD.findall(name or "")
    return bool(words) and all(word.lower() in _GENERIC for word in words)


def things(names: Sequence[str], tool: str, section: str) -> tuple[str, ...]:
    """Return what the ids in a field may be ids of, going by names: the field's own, or else those around it.

    Where only acts are named, as in `read` with an `id`, it is what the section is about.

    Args:
        names: of the members that lead to the field, its own last.
        tool: that the result is of.
        section: of the catalog.
    """
    own = [word for word in _NAME_WORD.findall(names[-1]) if word.lower() not in _GENERIC] if names else []
    acted_on = [word for word in _NAME_WORD.findall(tool) if word.lower() not in _ACTS]
    around = own or [word for name in names[:-1] for word in _NAME_WORD.findall(name)] + acted_on
    return _named(around) or _named(_NAME_WORD.findall(section))[-1:]


def _named(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found for word in words if (found := thing(word))))


def _raw_words(text: str) -> Iterator[str]:
    for match in _RAW.finditer(text):
        word = match[0].lstrip("([{*'#,").rstrip(TRAILING)
        if word:
            yield word
            for part in word.split(",") if "," in word else ():
                yield part.strip(TRAILING + LEADING) or word
    for match in _QUOTED.finditer(text):
        quoted = next(group for group in match.groups() if group is not None).strip()
        if quoted:
            yield quoted


def _taken(lowered: str) -> list[tuple[int, int]]:
    """Return the spans that dates and times were read from: their digits are no numbers of their own."""
    return [span for _, span in (*times.dates(lowered), *times.times(lowered))]


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    kept: list[str] = []
    position = 0
    for start, end in sorted(spans):
        if end > position:
            start = max(start, position)
            kept += (text[position:start], "\x00" * (end - start))
            position = end
    kept.append(text[position:])
    return "".join(kept)
