"""Dates, times of day and durations as people write them, in English and in numbers, read to one form.

A date is `2024-05-20`, or `--05-20` where the text gives no year (ISO 8601:2000 section 5.2.1.3); a time is `10:00`
or `10:00:30`. What could be two dates (`03/04/2024`) is none. Relative dates ("tomorrow") are not read.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator

MAX_TIMES = 32
"""Times and durations taken from one text; their sums are taken too."""

_MONTHS = {
    name: number
    for number, names in enumerate(
        "jan january|feb february|mar march|apr april|may|jun june|jul july|aug august|"
        "sep sept september|oct october|nov november|dec december".split("|"),
        1,
    )
    for name in names.split()
}
_STEMS = tuple(dict.fromkeys(name[:3] for name in _MONTHS))
_MONTH = r"\b(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + r")\b\.?"
_DAY = r"([0-3]?[0-9])(?:st|nd|rd|th)?"
_YEAR = r"(?:,?\s+(?:of\s+)?((?:19|20)[0-9]{2})(?![0-9:]))?"
_TO = r"\s*(?:-|\u2013|\u2014|to|until|till|through|and|&)\s*(?:the\s+)?"
_MONTH_FIRST = re.compile(rf"{_MONTH}\s+(?:the\s+)?{_DAY}(?:{_TO}{_DAY}(?![0-9:]))?(?![0-9:]){_YEAR}")
_DAY_FIRST = re.compile(rf"(?<![0-9:.,/-])(?:{_DAY}{_TO})?(?<![0-9]){_DAY}\s+(?:of\s+)?{_MONTH}{_YEAR}")
_YEAR_FIRST = re.compile(
    r"(?<![0-9])((?:19|20)[0-9]{2})([-/.])([01]?[0-9])\2([0-3]?[0-9])(?![0-9])(?:[t\s](?=[0-2][0-9]:))?"
)
_DOTTED = re.compile(r"(?<![0-9.])([0-3]?[0-9])\.([01]?[0-9])\.((?:19|20)[0-9]{2})(?![0-9])")
_SLASHED = re.compile(r"(?<![0-9/])([0-3]?[0-9])/([0-3]?[0-9])/((?:19|20)[0-9]{2})(?![0-9])")

_HALF = r"(am|pm|a\.m\.?|p\.m\.?)(?![a-z])"
_TWELVE = re.compile(
    rf"(?:(?<![0-9:.])([01]?[0-9])(?:[:.]([0-5][0-9]))?{_TO})?(?<![0-9:.])([01]?[0-9])(?:[:.]([0-5][0-9]))?\s*{_HALF}"
)
_TWENTY_FOUR = re.compile(
    r"(?<![0-9:.])([01]?[0-9]|2[0-3])[:h]([0-5][0-9])(?::([0-5][0-9])(?:\.[0-9]+)?)?(?![0-9])(?!\s*[ap]\.?m)"
)
_CLOCK = re.compile(
    r"(?<![0-9:.])([01]?[0-9]|2[0-3])\s*o['\u2019]?clock|\bat\s+([01]?[0-9]|2[0-3])(?![\w:.,/%-]*[\w:%])(?!\s*[ap]\.?m)"
)
_NAMED = {"noon": "12:00", "midday": "12:00", "midnight": "00:00"}
_WORDS = re.compile(r"\b(noon|midday|midnight)\b")
_DURATION = re.compile(
    r"\b([0-9]{1,3}(?:\.[0-9]{1,2})?|an?|one|two|three|four|half an?|one and a half)"
    r"[\s-]*(hours?|hrs?|minutes?|mins?|h)\b"
)
_NUMBERS = {
    "a": 1.0,
    "an": 1.0,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "four": 4.0,
    "half a": 0.5,
    "half an": 0.5,
}
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[t ]([0-2][0-9]:[0-5][0-9])(?::([0-5][0-9](?:\.[0-9]{1,9})?))?(z|[+-][0-2][0-9]:?[0-5][0-9])?)?"
)
# Days that every month has need no calendar.
_COMMON = re.compile(
    r"(?:19|20)[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])(?:[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9])?"
)
_PARTIAL = re.compile(r"--[0-9]{2}-[0-9]{2}")

Span = tuple[int, int]


def normal_date(text: str) -> str | None:
    """Return one date, with its time and zone if it has them, as `2024-05-20t10:00z`; None for anything else.

    Seconds of zero are left out. A zone is kept as written: another zone is another time.
    """
    if _COMMON.fullmatch(text):
        return f"{text[:10]}t{text[11:]}" if len(text) > 10 else text
    folded = " ".join(text.lower().split())
    match = _ISO.fullmatch(folded)
    if match is not None:
        day, minute, second, zone = match.groups()
        if not _exists(day):
            return None
        second = (second or "").rstrip("0").rstrip(".") if second and second.strip("0.") else ""
        if second and len(second) < 2:
            second = second.ljust(2, "0")
        clock = f"t{minute}" + (f":{second}" if second else "") + (zone or "") if minute else ""
        return day + clock
    if _PARTIAL.fullmatch(folded):
        return folded if _date(2024, *map(int, folded[2:].split("-"))) else None
    found = list(dates(folded))
    if len(found) == 1 and found[0][1] == (0, len(folded)):
        return found[0][0]
    return None


def parts(normal: str) -> tuple[str, str, str]:
    """Return date, time and zone of a normal date; time and zone may be empty."""
    day, _, clock = normal.partition("t")
    match = re.fullmatch(r"([0-9:.]*)(.*)", clock)
    return (day, match[1], match[2]) if match else (day, "", "")


def dates(text: str) -> Iterator[tuple[str, Span]]:
    """Yield the dates that a lower-case text spells, each with the span it was read from."""
    # Few texts hold a year or a month, and looking for their letters is far cheaper than looking for a date.
    has_year = "19" in text or "20" in text
    for match in _YEAR_FIRST.finditer(text) if has_year else ():
        yield from _read(match.span(), match[1], int(match[3]), match[4])
    for match in _DOTTED.finditer(text) if has_year else ():
        yield from _read(match.span(), match[3], int(match[2]), match[1])
    for match in _SLASHED.finditer(text) if has_year else ():
        one, other = int(match[1]), int(match[2])
        # The day is written first in one country and the month in another.
        if one > 12 or one == other:
            yield from _read(match.span(), match[3], other, match[1])
        elif other > 12:
            yield from _read(match.span(), match[3], one, match[2])
    has_month = any(stem in text for stem in _STEMS)
    for match in _MONTH_FIRST.finditer(text) if has_month else ():
        yield from _read(match.span(), match[4], _MONTHS[match[1]], match[2], match[3])
    for match in _DAY_FIRST.finditer(text) if has_month else ():
        yield from _read(match.span(), match[4], _MONTHS[match[3]], match[1], match[2])


def times(text: str) -> Iterator[tuple[str, Span]]:
    """Yield the times of day that a lower-case text spells, each with the span it was read from."""
    for match in _TWELVE.finditer(text):
        half = match[5][0]
        if match[1] is not None:
            yield from _half_day(match.span(), match[1], match[2], half)
        yield from _half_day(match.span(), match[3], match[4], half)
    for match in _TWENTY_FOUR.finditer(text):
        second = f":{match[3]}" if match[3] and match[3] != "00" else ""
        yield f"{int(match[1]):02}:{match[2]}{second}", match.span()
    for match in _CLOCK.finditer(text):
        yield f"{int(match[1] or match[2]):02}:00", match.span()
    for match in _WORDS.finditer(text):
        yield _NAMED[match[1]], match.span()


def implied_times(text: str) -> set[str]:
    """Return the times of day that a text spells, and those reached from them by a duration that it spells."""
    spelled = sorted({time for time, _ in times(text)})[:MAX_TIMES]
    lengths: set[int] = set()
    for match in _DURATION.finditer(text):
        number = 1.5 if match[1] == "one and a half" else _NUMBERS.get(match[1])
        amount = float(match[1]) if number is None else number
        lengths.add(round(amount * (60 if match[2][0] == "h" else 1)))
    found = set(spelled)
    for time in spelled:
        minute = int(time[:2]) * 60 + int(time[3:5])
        for length in sorted(lengths)[:MAX_TIMES]:
            if minute + length < 24 * 60:
                found.add(f"{(minute + length) // 60:02}:{(minute + length) % 60:02}{time[5:]}")
    return found


def _read(span: Span, year: str | None, month: int, *days: str | None) -> Iterator[tuple[str, Span]]:
    for day in days:
        if day is None:
            continue
        # 29 February exists in some year; without one, it may be meant.
        if year is None:
            if _date(2024, month, int(day)):
                yield f"--{month:02}-{int(day):02}", span
        elif _date(int(year), month, int(day)):
            yield f"{year}-{month:02}-{int(day):02}", span


def _half_day(span: Span, hour: str, minute: str | None, half: str) -> Iterator[tuple[str, Span]]:
    if 1 <= int(hour) <= 12:
        yield f"{int(hour) % 12 + (12 if half == 'p' else 0):02}:{minute or '00'}", span


def _exists(day: str) -> bool:
    year, month, number = map(int, day.split("-"))
    return _date(year, month, number)


def _date(year: int, month: int, day: int) -> bool:
    try:
        datetime.date(year, month, day)
    except ValueError:
        return False
    return True
