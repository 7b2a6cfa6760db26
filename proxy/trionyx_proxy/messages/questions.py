"""Typed questions: what an answer may be is fixed before there is one, and counted in bits.

The asking side sets names, ranges and choices; who answers picks within them. Text is no typed answer: it keeps the
answering run's label, as a message does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trionyx_proxy.messages.structure import MAX_TEXT_BYTES, MessageError
from trionyx_proxy.provenance.budget import bits
from trionyx_proxy.provenance.values import Scalar

MAX_QUESTIONS = 8
MAX_OPTIONS = 64
MAX_NAME_CHARS = 64
MAX_NUMBER = 10**15
WORDS = {"text": 12, "summary": 500}
"""Most words of an answer in words."""

SILENCE_BITS = 1.0
"""Whether there is an answer at all; counted once for what is asked together."""

_CATEGORY = {"bool": 1, "enum": 1, "integer": 1, "text": 2, "summary": 3}


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Args:
        name: of the answer, unique among what is asked together.
        type: `bool`, `enum`, `integer`; `text` or `summary` for words.
        options: of an enum, at least two.
        minimum: of an integer.
        maximum: of an integer.
        words: most words of a text or summary.
    """

    name: str
    type: str
    options: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 0
    words: int = 0

    @property
    def category(self) -> int:
        """1 for a typed value, 2 for a few words, 3 for a summary."""
        return _CATEGORY[self.type]

    @property
    def bits(self) -> float:
        """Bits that the answer can tell; 0 for words, which nobody takes for trusted."""
        match self.type:
            case "bool":
                return 1.0
            case "enum":
                return bits(len(self.options))
            case "integer":
                return bits(self.maximum - self.minimum + 1)
            case _:
                return 0.0

    def to_json(self) -> dict[str, Any]:
        """Give the members that its type has."""
        shown: dict[str, Any] = {"name": self.name, "type": self.type}
        match self.type:
            case "enum":
                shown["options"] = list(self.options)
            case "integer":
                shown |= {"maximum": self.maximum, "minimum": self.minimum}
            case "text" | "summary":
                shown["words"] = self.words
        return shown

    def answered(self, value: Scalar | None, text: str | None) -> Scalar:
        """Return the answer if it is one; anything else is refused, and nothing is made to fit.

        Raises:
            MessageError: it is not of the type or not within the range.
        """
        is_words = self.category > 1
        given = text if is_words else value
        if (text if not is_words else value) is not None:
            raise MessageError(f"{self.name}: takes {'text' if is_words else 'a value'} and nothing else")
        match self.type, given:
            case "bool", bool():
                return given
            case "integer", int() if not isinstance(given, bool) and self.minimum <= given <= self.maximum:
                return given
            case "enum", str() if given in self.options:
                return given
            case (("text" | "summary"), str()) if (
                0 < len(given.split()) <= self.words
                and len(given.encode()) <= MAX_TEXT_BYTES
                and all(char.isprintable() or (char == "\n" and self.type == "summary") for char in given)
            ):
                return given
        raise MessageError(f"{self.name}: the answer is not a {self.type} within what was asked for")


def millibits(questions: Iterable[Question]) -> int:
    """Return thousandths of the bits that the answers tell at most, rounded up; silence tells something, too."""
    return math.ceil(round((sum(question.bits for question in questions) + SILENCE_BITS) * 1_000, 6))


def read_questions(given: Sequence[Mapping[str, Any]]) -> tuple[Question, ...]:
    """Read what is to be asked together.

    Args:
        given: as the tool's schema describes them.

    Raises:
        MessageError: a member is missing, out of range, or of another type's.
    """
    if not 1 <= len(given) <= MAX_QUESTIONS:
        raise MessageError(f"ask 1 to {MAX_QUESTIONS} questions at once")
    questions = tuple(_question(member) for member in given)
    if len({question.name for question in questions}) != len(questions):
        raise MessageError("two questions have the same name")
    if len({question.category for question in questions}) != 1:
        raise MessageError("ask typed values, texts and summaries apart from each other")
    return questions


def stored_questions(stored: Sequence[Mapping[str, Any]]) -> tuple[Question, ...]:
    """Read what `Question.to_json` gave."""
    return tuple(
        Question(
            str(member["name"]),
            str(member["type"]),
            tuple(member.get("options", ())),
            int(member.get("minimum", 0)),
            int(member.get("maximum", 0)),
            int(member.get("words", 0)),
        )
        for member in stored
    )


def read_answers(questions: Sequence[Question], given: Sequence[Mapping[str, Any]]) -> dict[str, Scalar]:
    """Check answers against what was asked: all of it, and nothing else.

    Raises:
        MessageError: an answer is missing, repeated, unasked, or no answer to its question.
    """
    by_name = {answer["name"]: answer for answer in given}
    if len(by_name) != len(given) or by_name.keys() != {question.name for question in questions}:
        raise MessageError("answer each question once, and no other")
    return {
        question.name: question.answered(
            by_name[question.name].get("value"), by_name[question.name].get("text")
        )
        for question in questions
    }


def _question(given: Mapping[str, Any]) -> Question:
    name, kind = given["name"], given["type"]
    members = {"bool": set(), "enum": {"options"}, "integer": {"minimum", "maximum"}}.get(kind, {"words"})
    if given.keys() != {"name", "type"} | members:
        raise MessageError(f"{name}: a {kind} question needs {', '.join(sorted(members)) or 'nothing else'}")
    match kind:
        case "enum":
            options = tuple(given["options"])
            if not 2 <= len(set(options)) == len(options) <= MAX_OPTIONS:
                raise MessageError(f"{name}: give 2 to {MAX_OPTIONS} different options")
            return Question(name, kind, options)
        case "integer":
            least, greatest = given["minimum"], given["maximum"]
            if not -MAX_NUMBER <= least < greatest <= MAX_NUMBER:
                raise MessageError(f"{name}: the minimum must lie below the maximum")
            return Question(name, kind, minimum=least, maximum=greatest)
        case "text" | "summary":
            if not 1 <= given["words"] <= WORDS[kind]:
                raise MessageError(f"{name}: a {kind} has 1 to {WORDS[kind]} words")
            return Question(name, kind, words=given["words"])
        case _:
            return Question(name, kind)
