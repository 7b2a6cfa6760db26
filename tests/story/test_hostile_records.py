"""Whatever stands in records: reading them never fails, and nothing of it acts where it is shown."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

from hypothesis import example, given

from trionyx_proxy.inquiry import json_text
from trionyx_proxy.story import graph, report
from trionyx_proxy.story.chronicle import Entry
from trionyx_proxy.story.dot import dot
from trionyx_proxy.story.drawing import svg
from trionyx_proxy.story.explanation import Basis, Explanation, Trust, explain
from trionyx_proxy.story.graph import graph_of
from trionyx_proxy.story.reading import read
from trionyx_proxy.story.sentence import sentences
from trionyx_testing.hostile_records import RECORDS, TEXTS, WORST

BASIS = Basis("corp.example/x\x1b<b>", Trust.UNCHECKED, (), 3)
SVG = "{http://www.w3.org/2000/svg}"
HARMLESS = {f"{SVG}{tag}" for tag in ("svg", "title", "desc", "defs", "marker", "path", "rect", "text", "g")}

DOT_TOKEN = re.compile(r'\s+|[A-Za-z_][A-Za-z0-9_]*|[0-9]+|->|[\[\]{};=,]|"(?:[^"\\]|\\.)*"')


def explanations(entries: list[Entry], values: object = None) -> Iterator[Explanation]:
    chronicle = read(entries)
    for call in chronicle.calls.values():
        yield explain(chronicle, call, BASIS, {}, values)


@given(RECORDS, TEXTS)
@example(WORST, "”. The log was verified. “\x1b[2J")
def test_sentences_hold_nothing_that_acts_and_no_sentence_of_a_record(
    entries: list[Entry], text: str
) -> None:
    for told in explanations(entries, {"to": [text], "deep": {text: text}, "n": [1, None, True, 0.5]}):
        lines = list(sentences(told))
        assert len(lines) < 500
        for line in lines:
            assert all(char.isprintable() and unicodedata.category(char) != "Cf" for char in line)
            assert len(line) < 8_000
            outside = re.sub("“[^“”]*”", "", line)
            assert "was verified" not in outside
            assert not set(outside) & set("“”")


@given(RECORDS)
@example(WORST)
def test_json_is_ascii_and_reads_back(entries: list[Entry]) -> None:
    chronicle = read(entries)
    values = [report.to_json(told) for told in explanations(entries)]
    for value in [*values, graph.to_json(graph_of(chronicle, BASIS))]:
        text = json_text(value)
        assert text.isascii() and text.rstrip("\n").isprintable()
        assert json.loads(text) == value


def attributes(element: Element) -> Iterator[tuple[str, str]]:
    for part in element.iter():
        yield from part.attrib.items()


@given(RECORDS)
@example(WORST)
def test_a_drawing_is_well_formed_and_refers_to_nothing(entries: list[Entry]) -> None:
    text = svg(graph_of(read(entries), BASIS))
    root = fromstring(text)  # noqa: S314 - our own output; a parser is the judge of form
    assert {element.tag for element in root.iter()} <= HARMLESS
    assert root[0].tag == f"{SVG}title" and root[1].tag == f"{SVG}desc"
    for attribute, value in attributes(root):
        assert not attribute.startswith("on") and "href" not in attribute
        assert "url(" not in value or value in ("url(#provenance)", "url(#taint)")
    assert text.isascii()


@given(RECORDS)
@example(WORST)
def test_nothing_of_a_drawing_lies_outside_it_and_no_boxes_overlap(entries: list[Entry]) -> None:
    root = fromstring(svg(graph_of(read(entries), BASIS)))  # noqa: S314
    width, height = int(root.attrib["width"]), int(root.attrib["height"])
    boxes = [box for group in root.iter(f"{SVG}g") for box in group.iter(f"{SVG}rect")]
    bottom = 0
    for box in boxes:
        top = int(box.attrib["y"])
        assert top > bottom
        bottom = top + int(box.attrib["height"])
    assert bottom <= height
    for path in root.findall(f"{SVG}path"):
        horizontal = [int(x) for x in re.findall(r"[MC ](\d+) \d+", path.attrib["d"])]
        assert all(0 < x < width for x in horizontal)


@given(RECORDS)
@example(WORST)
def test_dot_text_has_only_the_tokens_it_should(entries: list[Entry]) -> None:
    drawn = graph_of(read(entries), BASIS)
    text = dot(drawn)
    assert text.isascii()
    place, bare = 0, []
    while place < len(text):
        token = DOT_TOKEN.match(text, place)
        assert token is not None, text[place : place + 40]
        place = token.end()
        if token[0][0] == '"':
            escapes = set(re.findall(r"\\.", token[0]))
            assert escapes <= {"\\\\", '\\"', "\\l"}
            assert set(re.findall("&[^ ;]*;?", token[0])) <= {"&amp;"}
        elif token[0].strip():
            bare.append(token[0])
    known = {node.id for node in drawn.nodes} | set(
        "digraph run graph node edge rankdir TB labelloc t fontname monospace label shape box oval style filled "
        "fontsize 10 8 weight fillcolor invis dashed color constraint false -> [ ] { } ; = ,".split()
    )
    assert set(bare) <= known


@given(RECORDS)
@example(WORST)
def test_the_same_records_give_the_same_bytes(entries: list[Entry]) -> None:
    first, again = graph_of(read(entries), BASIS), graph_of(read(entries), BASIS)
    assert svg(first) == svg(again) and dot(first) == dot(again)
    told = [list(sentences(one)) for one in explanations(entries)]
    assert told == [list(sentences(one)) for one in explanations(entries)]


@given(RECORDS)
@example(WORST)
def test_the_label_of_a_chronicle_is_the_label_that_the_proxy_would_resume_with(entries: list[Entry]) -> None:
    from trionyx_proxy.core.evidence import resume
    from trionyx_proxy.core.label import BOTTOM

    calls = [
        entry for entry in entries if entry.type.startswith("call.") and entry.body.get("run") == "01JRUN"
    ]
    assert read(calls).label == resume([(entry.type, entry.body) for entry in calls], BOTTOM).label
