"""What a trusted text names: its typed values, and its words.

A prompt is written by a person, so values are found inside sentences; each is taken whole, at its own borders, and
never as a part of a longer one. A number in prose is an amount, and an id only after a word that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.catalog.member import parse_iban
from trionyx_proxy.provenance import times
from trionyx_proxy.provenance.values import amount, fold, normal, origin_of_url, readings, visible

Mention = tuple[str, str]
"""A kind and a normal value. Kinds: those of `ArgumentType`, and `time`, `origin`, `id:<thing>`."""

BREAK = "\n"
"""Stands between two words that do not belong together."""

MAX_MENTIONS = 4_096

STOP_WORDS = frozenset(
    "a about above after again all also am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers him "
    "his how i if in into is it its itself just ll may me might more most must my no nor not now of off on once only "
    "or other our ours out over own please re s same shall she should so some such t than that the their theirs them "
    "then there these they this those through to too under until up upon us very via was we were what when where "
    "which while who whom why will with within without would you your yours".split()
)
"""Words that say nothing of their own; they need no origin in a title, and name nothing."""

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
_GENERIC = frozenset("id ids number no nr num item record entry row ref reference".split())
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
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{1,4}){1,8}")
_PHONE = re.compile(r"(?<![\w.,$\u20ac\u00a3])(?:\+|00)?\(?[0-9][0-9 ()./-]{4,20}[0-9](?![\w,])")
_CURRENCY = "$\u20ac\u00a3\u00a5"
_NUMBER = re.compile(
    rf"(?<![\w.,:/#+-])(?<!\w')(?:[A-Z]{{3}} ?|[{_CURRENCY}] ?)?[0-9][0-9.,'\u2019]*[0-9]?"
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
_RAW = re.compile(r"[^\s<>\"`|\u2018-\u201f\u00ab\u00bb;]+")
_LEADING = "([{*'#~_-,.:\""
_TRAILING = ".,;:!?)]}*'_~-"
_TERM = re.compile(r"[^\W_]+")
_LINKISH = re.compile(r"[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}(?:[/:?#].*)?")
_DOTTED = re.compile(r"\w\.\w")
_SPACED = str.maketrans(
    {chr(code): " " for code in range(128) if not chr(code).isalnum()}
    | {chr(code): chr(code + 32) for code in range(65, 91)}
)
_SEPARATED = re.compile(r"[,;:!?()\[\]{}\"\u201c\u201d\u00ab\u00bb<>|\n\u2013\u2014\u2026]+")


def named_values(text: str) -> set[Mention]:
    """Return every typed value that a prompt names; at most `MAX_MENTIONS`, and then an arbitrary part of them."""
    shown = visible(text)
    lowered = shown.lower()
    found: set[Mention] = set()
    for kind in (ArgumentType.EMAIL, ArgumentType.URL, ArgumentType.IBAN, ArgumentType.PATH):
        found.update(_typed(kind, shown))
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
            return "." in text
        case "path":
            return "/" in text or "." in text
        case "time":
            return _DIGIT.search(text) is not None or "noon" in text or "mid" in text
    return _DIGIT.search(text) is not None


def mentioned_values(kind: str, text: str) -> set[Mention]:
    """Return the values of one kind that a text of the organisation mentions: addresses, accounts, dates, paths.

    Amounts, ids and names count only in fields of their own.
    """
    if kind in ("date", "time"):
        lowered = visible(text).lower()
        return set(_dates(lowered)) | {("time", time) for time, _ in times.times(lowered)}
    if kind in ("host", "origin"):
        kind = "url"
    try:
        return set(_typed(ArgumentType(kind), visible(text)))
    except ValueError:
        return set()


@lru_cache(maxsize=256)
def in_order(kind: ArgumentType, text: str) -> list[str]:
    """Return the values of one kind that a text mentions, each once, in the order in which they stand there.

    Args:
        kind: EMAIL, URL, IBAN, PHONE, DATE, AMOUNT or INTEGER; of any other kind there are none.
        text: anybody's.
    """
    shown = visible(text)
    match kind:
        case ArgumentType.DATE:
            found = list(_dates(shown.lower()))
        case ArgumentType.AMOUNT | ArgumentType.INTEGER:
            found = list(_amounts(_without(shown, _taken(shown.lower()))))
        case _:
            found = list(_typed(kind, shown))
    return list(dict.fromkeys(value for name, value in found[:MAX_MENTIONS] if name == kind.value))


def sequence(text: str) -> tuple[str, ...]:
    """Return the words of a text in order, with `BREAK` where a sentence is interrupted.

    An address, file name or number with inner marks is one word: a part of it is not in the sequence.
    """
    words: list[str] = []
    for line in visible(text).splitlines():
        for raw in fold(line).split():
            _append_words(words, raw)
        _interrupt(words)
    while words and words[-1] == BREAK:
        words.pop()
    return tuple(words)


@lru_cache(maxsize=256)
def cover_terms(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the words of a text as a source and as a claim: `(gives, needs)`.

    Whatever looks like an address, link or file name is given and needed whole. Stop words are in neither.
    """
    gives: set[str] = set()
    needs: set[str] = set()
    for raw in fold(text).split():
        word = raw.lstrip(_LEADING).rstrip(_TRAILING + '"')
        terms = {term for term in _TERM.findall(word) if term not in STOP_WORDS}
        if _is_linkish(word):
            gives.add(word)
            needs.add(word)
        else:
            gives |= terms
            needs |= terms
    return frozenset(gives), frozenset(needs)


def given_terms(text: str) -> Iterable[str]:
    """Return the words that a text gives as a source, as `cover_terms` does; quick where it has no links."""
    if not text.isascii() or "@" in text or "/" in text or _DOTTED.search(text) is not None:
        return cover_terms(text)[0]
    return text.translate(_SPACED).split()


def _is_linkish(word: str) -> bool:
    return "@" in word or "://" in word or _LINKISH.fullmatch(word) is not None


def _append_words(words: list[str], raw: str) -> None:
    if "@" in raw or "://" in raw:
        word = raw.strip("<>()[]{}\"'`*_").rstrip(_TRAILING)
        if raw[:1] in '([{<"\u201c':
            _interrupt(words)
        words.append(word)
        if not raw.endswith(word):
            _interrupt(words)
        return
    position = 0
    numeric = raw.strip("$\u20ac\u00a3.,;:!?()")
    if numeric and numeric[0].isdigit() and re.fullmatch(r"[0-9.,:'\u2019/-]+", numeric):
        words.append(numeric)
        if raw[-1:] in ",;:!?)":
            _interrupt(words)
        return
    for match in _SEPARATED.finditer(raw):
        _append_word(words, raw[position : match.start()])
        _interrupt(words)
        position = match.end()
    _append_word(words, raw[position:])


def _append_word(words: list[str], raw: str) -> None:
    word = raw.strip("'`\u2018\u2019*_~.#-&+=%^$\u20ac\u00a3\\/" if not raw.startswith("/") else "'`*_~.,")
    for possessive in ("'s", "\u2019s"):
        word = word.removesuffix(possessive)
    if word:
        words.append(word)


def _interrupt(words: list[str]) -> None:
    if words and words[-1] != BREAK:
        words.append(BREAK)


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
    """Return the name under which ids of a thing are kept: `document` and `file` are one thing."""
    return _THING.get(word, word)


def _raw_words(text: str) -> Iterator[str]:
    for match in _RAW.finditer(text):
        word = match[0].lstrip("([{*'#,").rstrip(_TRAILING)
        if word:
            yield word
            for part in word.split(",") if "," in word else ():
                yield part.strip(_TRAILING + _LEADING) or word
    for match in _QUOTED.finditer(text):
        quoted = next(group for group in match.groups() if group is not None).strip()
        if quoted:
            yield quoted


def _taken(lowered: str) -> list[tuple[int, int]]:
    """Return the spans that dates and times were read from: their digits are no numbers of their own."""
    return [span for _, span in (*times.dates(lowered), *times.times(lowered))]


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    for start, end in spans:
        text = text[:start] + "\x00" * (end - start) + text[end:]
    return text
