"""The registered prompt as digests: asked with the key it answers, without it it tells nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.config import load
from trionyx_proxy.pep.claimant import claim
from trionyx_proxy.provenance import normal
from trionyx_proxy.provenance.words import (
    EMPTY,
    MAX_TOKENS,
    PromptReader,
    PromptWords,
    prompt_implies,
    prompt_words,
)
from trionyx_proxy.state import RunStore
from trionyx_testing.asking import minted
from trionyx_testing.workspace import Workspace

KEY, OTHER = b"k" * 32, b"o" * 32
PROMPT = "Please send the summary to Alice Smith, Bob and #general. Don't delete anything: report.final.docx stays!"


@given(st.text(max_size=300))
def test_words_survive_storage(text: str) -> None:
    words = prompt_words(text, KEY)
    assert PromptWords.from_json(json.loads(json.dumps(words.to_json()))) == words


@pytest.mark.parametrize("odd", [None, [], {}, {"tokens": "", "values": 1}, {"tokens": "AAAA", "values": ""},
                                 {"tokens": "", "values": "", "more": 1}, {"tokens": "!", "values": ""}])  # fmt: skip
def test_odd_words_are_none(odd: object) -> None:
    assert PromptWords.from_json(odd) == EMPTY


@pytest.mark.guarantee("G28")
def test_nothing_of_the_text_is_kept() -> None:
    stored = json.dumps(prompt_words(PROMPT, KEY).to_json())
    assert not any(word in stored for word in ("summary", "Alice", "alice", "general", "docx"))
    assert not set(prompt_words(PROMPT, KEY).tokens) & set(prompt_words(PROMPT, OTHER).tokens)
    assert not PromptReader(prompt_words(PROMPT, KEY), OTHER).has_phrase("Alice Smith")


def test_a_long_prompt_vouches_for_its_beginning() -> None:
    words = prompt_words("word " * MAX_TOKENS + "last", KEY)
    assert len(words.tokens) == MAX_TOKENS and not PromptReader(words, KEY).has_phrase("last")


PHRASES = [
    ("Alice Smith", True),
    ("alice", True),
    ("ALICE  ＳＭＩＴＨ", True),
    ("general", True),
    ("#general", True),
    ("report.final.docx", True),
    ("final.docx", False),
    ("report", False),
    ("Smith Bob", False),
    ("Alice Bob", False),
    ("Ali", False),
    ("the", False),
    ("to", False),
    ("", False),
    ("\u200b", False),
    (",", False),
    ("Alice Smith and Eve", False),
]


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize(("phrase", "expected"), PHRASES)
def test_a_name_is_found_as_whole_words_in_a_row(phrase: str, expected: bool) -> None:
    assert PromptReader(prompt_words(PROMPT, KEY), KEY).has_phrase(phrase) is expected


@pytest.mark.parametrize(
    ("prompt", "address", "expected"),
    [
        ("our website www.our-company.example.They like it", "https://www.our-company.example", True),
        ("our website www.our-company.example.They like it", "https://www.our-company.example/x", False),
        ("our website www.our-company.example.they.evil.example", "https://www.our-company.example", False),
        ("our website www.our-company.example.Evil.example", "https://www.our-company.example", False),
        ("our website www.our-company.co.Uk", "https://www.our-company.co", False),
    ],
)
def test_a_missing_space_after_an_address_is_read_as_one(prompt: str, address: str, expected: bool) -> None:
    url = normal(ArgumentType.URL, address)
    assert url is not None
    assert PromptReader(prompt_words(prompt, KEY), KEY).names("url", url) is expected


def test_effects_are_implied_by_words() -> None:
    implied_by = {
        "egress": ["send", "forward"],
        "destroy": ["delete"],
        "money": ["pay"],
        "read": ["look up", "the summary"],
    }
    assert prompt_implies(prompt_words(PROMPT, KEY), implied_by, KEY) == ("destroy", "egress", "read")
    assert prompt_implies(EMPTY, implied_by, KEY) == () == prompt_implies(prompt_words(PROMPT, KEY), {}, KEY)
    assert prompt_implies(prompt_words(PROMPT, KEY), implied_by, OTHER) == ()


@pytest.mark.guarantee("G28")
def test_a_registered_prompt_can_be_asked_with_the_token_and_read_by_nobody(tmp_path: Path) -> None:
    made = Workspace.create(tmp_path)
    environment = minted(made, PROMPT)
    config = load(made.config.read_text(), base=made.root)
    store = RunStore.open(made.root / "state")
    claimant = claim(config, store, environment["TRIONYX_RUN_TOKEN"])
    store.close()
    assert PromptReader(claimant.prompt.words, claimant.identity.key).has_phrase("Alice Smith")
    assert not PromptReader(claimant.prompt.words, OTHER).has_phrase("Alice Smith")
    kept = b"".join(path.read_bytes() for path in (made.root / "state").iterdir() if path.is_file())
    assert claimant.identity.key not in kept and environment["TRIONYX_RUN_TOKEN"].encode() not in kept
    assert not any(word in kept for word in (b"Alice", b"alice", b"summary"))
