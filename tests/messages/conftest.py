"""Proxies that start fast, and their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trionyx_testing.talking import Forked


@pytest.fixture(scope="package", autouse=True)
def idle() -> Iterator[None]:
    yield
    Forked.close_idle()
