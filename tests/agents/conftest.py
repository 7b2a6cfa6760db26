"""Fixtures of the agents' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from trionyx_agents import profile
from trionyx_testing.agent_runtime import Desk, make_desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return make_desk(tmp_path / "desk")


@pytest.fixture
def place() -> Iterator[profile.Workplace]:
    with profile.workplace() as made:
        yield made
