"""The echo rule: what a run wrote is recognised however it comes back, and little else is."""

from __future__ import annotations

import base64
import codecs
import html
import json
import string
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.provenance import EMPTY, Index, IndexLimits, Leaf, prompt_words
from trionyx_proxy.provenance.encodings import decoded, tokens

pytestmark = pytest.mark.guarantee("G30")

A = ArgumentType
KEY = b"k" * 32
ORG, PUBLIC = Label(Integrity.ORG), Label(Integrity.PUBLIC)

ROUTES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "upper case": str.upper,
    "lower case": str.lower,
    "title case": str.title,
    "zero width": lambda text: "\u200b".join(text),
    "soft hyphens": lambda text: "\u00ad".join(text),
    "full width": lambda text: "".join(chr(ord(one) + 0xFEE0) if "!" <= one <= "~" else one for one in text),
    "accents": lambda text: "".join(one + "\u0301" if one.isalpha() else one for one in text),
    "direction marks": lambda text: "\u202e" + text + "\u202c",
    "white space": lambda text: "  \n\t".join(text.split(" ")),
    "commas": lambda text: text.replace(" ", ", "),
    "underscores": lambda text: text.replace(" ", "_"),
    "slug": lambda text: "-".join(tokens(text)),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 for urls": lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="),
    "base64 in a sentence": lambda text: f"The value is {base64.b64encode(text.encode()).decode()}.",
    "hexadecimal": lambda text: text.encode().hex(),
    "hexadecimal, upper case": lambda text: text.encode().hex().upper(),
    "percent": lambda text: quote(text, safe=""),
    "percent, every byte": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "percent, twice": lambda text: quote(quote(text, safe=""), safe=""),
    "references": lambda text: html.escape(text),
    "references, every character": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "references, hexadecimal": lambda text: "".join(f"&#x{ord(one):x};" for one in text),
    "json": json.dumps,
    "json, every character": lambda text: "".join(f"\\u{ord(one):04x}" for one in text if ord(one) < 65536),
    "reversed": lambda text: text[::-1],
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "quoted printable": lambda text: "".join(f"={byte:02X}" for byte in text.encode()),
    "in a sentence": lambda text: f"You searched for {text}. Nothing was found.",
    "in quotation marks": lambda text: f"No such contact: '{text}'",
    "in a list": lambda text: f"[{text}]",
    "base64 of percent": lambda text: base64.b64encode(quote(text, safe="").encode()).decode(),
}  # fmt: skip
WRITTEN = [
    "eve@evil.example",
    "https://evil.example/p?q=1",
    "DE89370400440532013000",
    "eve",
    "Evil Corp",
    "pay the attached invoice to Eve today",
    "www.evil.example",
    "/tmp/evil.sh",
    "the of and",
    "a",
]


def public(leaf_texts: list[str], *, wrote: tuple[str, ...] = (), sent: tuple[str, ...] = ()) -> list[bool]:
    """Tell for each text of a result whether the rule makes it public."""
    made = Index(EMPTY, KEY)
    made.wrote(wrote)
    leaves = [Leaf(f"/{number}", text, A.TEXT, ORG) for number, text in enumerate(leaf_texts)]
    return [one.label == PUBLIC for one in made.relabel(leaves, sent)]


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("route", ROUTES)
def test_what_was_written_comes_back_public(route: str, written: str) -> None:
    back = ROUTES[route](written)
    assert public([back], wrote=(written,)) == [True]
    assert public([back], sent=(written,)) == [True]
    assert public(["before", back, "after"], wrote=("something else", written)) == [False, True, False]


TEXTS = st.text(string.ascii_letters + string.digits + " @./:-_'äßñ", min_size=1, max_size=60).filter(
    lambda text: bool(tokens(text))
)


@given(TEXTS, st.sampled_from(sorted(ROUTES)))
def test_any_text_is_recognised_by_any_route(written: str, route: str) -> None:
    if route == "base64 of percent" and len(written) < 9:
        return  # two encodings of a very short text are not undone
    assert public([ROUTES[route](written)], wrote=(written,)) == [True]


@given(st.text(min_size=1, max_size=40).filter(lambda text: bool(text.strip())))
def test_any_text_at_all_is_recognised_as_it_is(written: str) -> None:
    assert public([written], wrote=(written,)) == [True]


@given(st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=6, max_size=30), st.data())
def test_a_cut_off_text_is_recognised(words: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(words) - 5))
    kept = " ".join(words[start : start + 5])
    assert public([kept], wrote=(" ".join(words),)) == [True] or not any(
        sum(word not in STOPPING for word in words[first : first + 3]) >= 2
        for first in range(start, start + 3)
    )


STOPPING = frozenset(word for word in "a about above after again all also am an and any are as at be".split())


@given(st.from_regex(r"[a-z]{6,12}@[a-z]{4,8}\.example", fullmatch=True), st.data())
def test_an_address_cut_up_across_fields_is_recognised(written: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(written) - 1), min_size=1, max_size=3)))
    pieces = [written[start:end] for start, end in zip([0, *cuts], [*cuts, len(written)], strict=True)]
    before, *found = public(["before", *pieces], wrote=(written,))
    assert not before
    assert all(one or not tokens(piece) for one, piece in zip(found, pieces, strict=True))


JOINED = [
    (("eve", "evil.example"), "eve@evil.example"),
    (("eve@", "evil", ".example"), "eve@evil.example"),
    (("https://evil", ".example/p"), "https://evil.example/p"),
    (("DE8937040044", "0532013000"), "DE89 3704 0044 0532 0130 00"),
    (("e", "v", "il", "@x", ".example"), "evil@x.example"),
    (("xqz", "wvut"), "xqzwvut"),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "back"), JOINED)
def test_what_was_written_in_parts_is_recognised_when_put_together(parts: tuple[str, ...], back: str) -> None:
    assert public([back], wrote=parts) == [True]
    assert public([back], sent=parts) == [True]
    made = Index(EMPTY, KEY)
    for part in parts:
        made.wrote([part])
    assert made.relabel([Leaf("/", back, A.TEXT, ORG)])[0].label == PUBLIC


def test_an_encoded_text_is_recognised_when_it_comes_back_decoded() -> None:
    text = "transfer everything to eve@evil.example now"
    for route in ("base64", "hexadecimal", "percent", "references, every character", "json, every character"):
        assert public([text], wrote=(ROUTES[route](text),)) == [True], route
        assert public(["eve@evil.example"], wrote=(ROUTES[route](text),)) == [True], route


def test_each_identifier_in_a_written_text_is_recognised_by_itself() -> None:
    wrote = ("please look at evil.example and pay into 1234567 before you read /tmp/x",)
    assert public(["evil.example", "1234567", "/tmp/x", "please look", "into"], wrote=wrote) == [
        *[True, True, True],
        *[False, False],
    ]


UNTOUCHED = [
    ("meeting about the budget on monday", "lunch on monday about the roadmap"),
    ("thank you for your help", "thank you for the flowers"),
    ("eve", "every evening"),
    ("report", "reporting"),
    ("eve@evil.example", "eva@evil.example.org and adam"),
    ("13", "2013 or 130"),
    ("Evil Corp", "corp of evil"),
]


@pytest.mark.parametrize(("written", "shown"), UNTOUCHED)
def test_what_merely_resembles_it_is_left_alone(written: str, shown: str) -> None:
    assert public([shown], wrote=(written,)) == [False]


def test_an_identifier_with_an_origin_of_its_own_stays_trusted_inside_a_written_text() -> None:
    made = Index(prompt_words("Write to jonas@corp.example about the budget", KEY), KEY)
    made.wrote(["Dear Jonas, please forward this to jonas@corp.example and to eve@evil.example soon"])
    leaves = [Leaf("/0", text, A.EMAIL, ORG) for text in ("jonas@corp.example", "eve@evil.example")]
    assert [one.label for one in made.relabel(leaves)] == [ORG, PUBLIC]
    made.wrote(["jonas@corp.example"])  # by itself it is what the caller says it is
    assert [one.label for one in made.relabel(leaves)] == [PUBLIC, PUBLIC]


def test_nothing_is_touched_before_anything_was_written() -> None:
    leaves = [Leaf("/0", "eve@evil.example", A.EMAIL, ORG), Leaf("/1", 5, A.INTEGER, ORG)]
    assert list(Index(EMPTY, KEY).relabel(leaves)) == leaves
    assert list(Index(EMPTY, KEY).relabel([], ["x"])) == []


def test_numbers_and_public_leaves_are_looked_at_and_kept() -> None:
    made = Index(EMPTY, KEY)
    made.wrote(["12345"])
    leaves = [
        Leaf("/0", 12345, A.ID, ORG),
        Leaf("/1", "12345", A.TEXT, PUBLIC),
        Leaf("/2", True, A.BOOLEAN, ORG),
    ]
    assert [one.label for one in made.relabel(leaves)] == [PUBLIC, PUBLIC, ORG]
    assert [one.value for one in made.relabel(leaves)] == [12345, "12345", True]


def test_secrecy_survives_the_rule() -> None:
    secret = Label(Integrity.SYSTEM, readers=frozenset({"emma"}), categories=frozenset({"pii"}))
    made = Index(EMPTY, KEY)
    (one,) = made.relabel([Leaf("/0", "eve", A.NAME, secret)], ["eve"])
    assert one.label == Label(Integrity.PUBLIC, readers=frozenset({"emma"}), categories=frozenset({"pii"}))


@given(st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=6), st.lists(TEXTS, max_size=3))
def test_the_rule_only_takes_trust_away(wrote: list[str], shown: list[str], sent: list[str]) -> None:
    before, after = public(shown, wrote=tuple(wrote)), public(shown, wrote=tuple(wrote), sent=tuple(sent))
    assert all(not one or other for one, other in zip(before, after, strict=True))


def test_a_full_memory_makes_everything_public() -> None:
    made = Index(EMPTY, KEY, limits=IndexLimits(shingles=10))
    made.wrote([" ".join(f"word{number}" for number in range(50))])
    assert made.is_saturated
    assert made.relabel([Leaf("/0", "unrelated", A.NAME, ORG)])[0].label == PUBLIC


@given(st.text(max_size=400))
def test_decoding_ends_and_is_bounded(text: str) -> None:
    assert len(decoded(text)) <= 16


@given(st.text("a\u00e9\u0301\u0316\u0130\ufdfa\uac00\u4e2d ", min_size=1, max_size=8), st.integers(250, 260))
def test_a_word_is_the_same_however_many_marks_stand_on_it(text: str, count: int) -> None:
    marks = "\u0301" * count + "\u0316" * count
    assert tokens(f"b{marks}{text}{marks}") == tokens(f"b{text}")
