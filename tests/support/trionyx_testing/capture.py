"""Run a command's `main` in this process and take what it prints."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence


def output_of(main: Callable[[Sequence[str] | None], int], argv: list[str], *, stdin: str = "") -> str:
    """Return the standard output of a command that must succeed."""
    out, before = io.StringIO(), sys.stdin
    sys.stdin = io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out):
            code = main(argv)
    finally:
        sys.stdin = before
    assert code == 0, out.getvalue()
    return out.getvalue()
