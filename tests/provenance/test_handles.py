"""Handles and the bit budget: unguessable, bounded, of one run; and no more answers than bits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.catalog import ArgumentType
from trionyx_proxy.core.label import BOTTOM
from trionyx_proxy.facts.identifier import is_handle
from trionyx_proxy.provenance import TOKEN, Budget, Handles, Hidden
from trionyx_proxy.provenance.budget import bits
from trionyx_proxy.provenance.handles import argument, embedded, named

pytestmark = pytest.mark.guarantee("G31")


def hidden(handle: str, content: str = "text") -> Hidden:
    return Hidden(handle, "/body", ArgumentType.TEXT, BOTTOM, content)


def test_handles_hold_80_unpredictable_bits() -> None:
    drawn: list[int] = []

    def entropy(count: int) -> bytes:
        drawn.append(count)
        return bytes((len(drawn) + place) % 256 for place in range(count))

    handles = Handles(entropy=entropy)
    minted = [handles.mint() for _ in range(100)]
    assert sum(drawn) >= 100 * 10
    assert all(named(handle) == handle and len(handle) == 17 and is_handle(handle) for handle in minted)
    assert len({Handles().mint() for _ in range(50)}) == 50


def test_a_handle_names_its_text_in_its_own_run_only() -> None:
    handles, other = Handles(), Handles()
    one = hidden(handles.mint())
    handles.put(one)
    assert handles.find(one.handle) == handles.find(one.token) == one
    assert other.find(one.handle) is None and handles.find(other.mint()) is None
    assert handles.find("") is None and handles.find(one.token + " ") is None
    assert is_handle(one.token) and TOKEN.fullmatch(one.token)


def test_the_oldest_texts_are_forgotten_first() -> None:
    handles = Handles(max_handles=3, max_bytes=100)
    kept = [hidden(handles.mint(), "x" * 30) for _ in range(4)]
    for one in kept:
        handles.put(one)
    assert [handles.find(one.handle) is not None for one in kept] == [False, True, True, True]
    big = hidden(handles.mint(), "x" * 50)
    handles.put(big)
    assert len(handles) == 2 and handles.find(big.handle) == big
    handles.put(hidden(handles.mint(), "x" * 101))
    assert len(handles) == 0
    again = hidden(handles.mint(), "x" * 90)
    for _ in range(3):
        handles.put(again)  # the same one takes its place once
    assert handles.find(again.handle) == again


def test_tokens_inside_a_text_are_found_in_order() -> None:
    handles = Handles()
    one, other = hidden(handles.mint()), hidden(handles.mint())
    assert list(embedded(f"see {one.token} and {other.token}!")) == [one.handle, other.handle]
    assert list(embedded(one.handle)) == []
    assert argument(f"see {one.token}") is None and argument(["x"]) is None and argument(None) is None


@given(st.text(max_size=60))
def test_only_a_whole_token_is_a_handle_argument(text: str) -> None:
    assert argument(text) is None or TOKEN.fullmatch(text)


@given(st.lists(st.floats(0, 20), max_size=40), st.integers(0, 64))
def test_no_more_bits_are_told_than_the_budget_has(costs: list[float], limit: int) -> None:
    budget = Budget(limit)
    told = sum(cost for cost in costs if budget.charge(cost))
    assert told <= limit + 1e-6 and 0 <= budget.left <= limit
    resumed = Budget(limit, budget.spent_millibits)
    assert resumed.left == budget.left


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1.0])
def test_odd_costs_are_refused(cost: float) -> None:
    budget = Budget(64)
    assert not budget.charge(cost) and budget.left == 64


def test_a_question_costs_the_logarithm_of_its_answers() -> None:
    assert [bits(answers) for answers in (1, 2, 256)] == [0, 1, 8]
    budget = Budget(3)
    assert [budget.charge(bits(2)) for _ in range(4)] == [True, True, True, False]
    assert budget.charge(bits(1)) and not budget.charge(0.001)
    with pytest.raises(ValueError, match="at least one"):
        bits(0)
