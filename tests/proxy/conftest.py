"""Keeps what a command configures in this process from reaching the next test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _plain_operator_log() -> Iterator[None]:
    # A command run under `capsys` leaves a log behind whose stream is closed when its test ends.
    yield
    structlog.reset_defaults()
