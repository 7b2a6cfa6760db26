"""Copies of values: what `dataclasses.replace` gives, or an error."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.core.copying import replace
from trionyx_testing.calls import POLICY, PROMPT, READ, Witness, new_run, request

VALUES = [POLICY, PROMPT, READ, Witness(), new_run(), request("a")]


@given(st.data(), st.sampled_from(VALUES))
def test_a_copy_is_what_the_standard_library_makes(data: st.DataObject, value: object) -> None:
    assert dataclasses.is_dataclass(value) and not isinstance(value, type)
    names = [field.name for field in dataclasses.fields(value)]
    chosen = data.draw(st.sets(st.sampled_from(names)))
    members: dict[str, object] = dict.fromkeys(chosen, "another")
    assert replace(value, **members) == dataclasses.replace(value, **members)
    assert all(getattr(value, name) != "another" for name in names)


@dataclass(slots=True)
class Changing:
    member: int


@dataclass(frozen=True, slots=True)
class Checked:
    member: int

    def __post_init__(self) -> None:
        assert self.member


@pytest.mark.parametrize("value", [Changing(1), Checked(1)])
def test_what_may_change_or_checks_itself_is_not_copied(value: Changing | Checked) -> None:
    with pytest.raises(TypeError, match="not a plain frozen value"):
        replace(value, member=0)
