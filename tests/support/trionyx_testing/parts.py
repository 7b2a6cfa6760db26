"""Outside parts that some tests need: found, skipped, or (when all are required) missed loudly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CACHE = Path.home() / ".cache" / "trionyx" / "bin"


def find(name: str) -> Path | None:
    """Locate an executable: `$TRIONYX_<NAME>`, then PATH, then the cache that `.ci/run` fills."""
    override = os.environ.get(f"TRIONYX_{name.upper()}")
    if override:
        return Path(override)
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    cached = CACHE / name
    return cached if cached.is_file() else None


def need(name: str) -> Path:
    """Return the path of a real part; skip without it, or fail where `TRIONYX_REQUIRE_ALL=1`."""
    found = find(name)
    if found is not None:
        return found
    if os.environ.get("TRIONYX_REQUIRE_ALL") == "1":
        pytest.fail(f"{name} is required here and was not found", pytrace=False)
    pytest.skip(f"{name} is not installed")
