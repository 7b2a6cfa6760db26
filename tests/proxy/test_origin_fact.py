"""Entries of `facts.origins`: what they say of a date whose hour somebody else chose."""

from __future__ import annotations

from typing import Any

import pytest

from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.pep.origin_fact import day_integrity, origin_fact
from trionyx_proxy.provenance import Index, Leaf, prompt_words
from trionyx_proxy.provenance.origin import NOWHERE

KEY = b"k" * 32
A, R = ArgumentType, Role


def index() -> Index:
    found = Index(prompt_words("Meet on 2024-05-20 at 10:00", KEY), KEY)
    found.add("c1", "calendar", [Leaf("/0/start", "2024-06-01T09:00", A.DATE, Label(Integrity.SYSTEM))])
    return found


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize(
    ("value", "kind", "role", "day"),
    [
        ("2024-05-20 18:00", A.DATE, R.WHEN, Integrity.USER),
        ("2024-05-20T18:00:00Z", A.DATE, R.WHEN, Integrity.USER),
        ("2024-06-01 18:00", A.DATE, R.WHEN, Integrity.SYSTEM),
        ("2024-05-21 10:00", A.DATE, R.WHEN, Integrity.PUBLIC),
        ("2024-05-20T18:00+02:00", A.DATE, R.WHEN, None),
        ("2024-05-20", A.DATE, R.WHEN, None),
        ("soon", A.DATE, R.WHEN, None),
        ("2024-05-20 18:00", A.DATE, R.CONTENT, None),
        ("2024-05-20 18:00", A.TEXT, R.WHEN, None),
    ],
)
def test_the_day_has_an_origin_of_its_own(value: str, kind: Any, role: Any, day: Integrity | None) -> None:
    assert day_integrity(index(), value, kind, role) is day


def test_the_whole_value_is_not_vouched_for_by_its_day() -> None:
    origin = index().origin("2024-05-20 18:00", A.DATE, R.WHEN)
    fact: Any = origin_fact("/start", R.WHEN, A.DATE, origin, day=Integrity.USER)
    assert (fact["integrity"], fact["day"]) == ("public", "user")
    assert "day" not in origin_fact("/to", R.TARGET, A.EMAIL, NOWHERE)  # type: ignore[operator]
