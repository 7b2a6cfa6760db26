"""Lexical reading of file paths.

Nothing is looked up: what symbolic links and mounts make of a path is the upstream's matter, and its roots
must not hold links that leave them. Source: POSIX.1-2024 section 4.16 (pathname resolution).
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from urllib.parse import unquote

from trionyx_proxy.facts.script import has_hidden

MAX_PATH_BYTES = 4_096

# `C:`, `file:`, `\\server`: other systems' paths, which a server may or may not understand.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


@dataclass(frozen=True, slots=True)
class Place:
    """A path in normal form.

    Args:
        path: `.` and doubled slashes removed, `..` resolved lexically; never climbs above "/".
        inside: absolute, below one of the roots, and at no step of its spelling above them.
        hidden: whether a component begins with a dot; the root that the path lies below does not count.
        control: whether it holds control, direction or invisible characters.
    """

    path: str
    inside: bool
    hidden: bool
    control: bool


def parse_path(text: str, roots: tuple[str, ...]) -> Place | None:
    """Read a path; None where it means different files to different servers.

    That is: empty or too long, a backslash, a home directory (`~`), a scheme or drive, a component that ends
    in a dot or space, or percent escapes and compatibility characters that spell a separator or a dot.
    """
    if not text or len(text.encode("utf-8", "replace")) > MAX_PATH_BYTES:
        return None
    if "\\" in text or text.startswith("~") or _SCHEME.match(text):
        return None
    if not _is_plain_when_decoded(text) or _structure(unicodedata.normalize("NFKC", text)) != _structure(
        text
    ):
        return None
    steps: list[str] = []
    inside = text.startswith("/")
    rooted = tuple(_steps(root) for root in roots)
    for step in _steps(text):
        if step == "..":
            inside = inside and any(len(steps) > len(root) and steps[: len(root)] == root for root in rooted)
            if steps and steps[-1] != "..":
                steps.pop()
            elif not text.startswith("/"):
                steps.append(step)
        elif step[-1] in ". ":
            return None
        else:
            steps.append(step)
    # The operator chose the roots; the longest one that fits is not the caller's doing.
    root = max((len(root) for root in rooted if inside and steps[: len(root)] == root), default=0)
    return Place(
        path=("/" if text.startswith("/") else "") + "/".join(steps) or ".",
        inside=inside and any(steps[: len(root)] == root for root in rooted),
        hidden=any(step.startswith(".") and step != ".." for step in steps[root:]),
        control=has_hidden(text),
    )


def _steps(path: str) -> list[str]:
    return [step for step in path.split("/") if step not in ("", ".")]


def _is_plain_when_decoded(text: str) -> bool:
    decoded = text
    for _ in range(4):
        if not _ESCAPE.search(decoded):
            return _structure(decoded) == _structure(text) and has_hidden(decoded) == has_hidden(text)
        decoded = unquote(decoded)
    return False


def _structure(text: str) -> list[str]:
    """Return what gives a path its meaning: its separators, and which components are dots or end in one."""
    return [
        step if step.strip(".") == "" else step[-1].strip(".") and "x" for step in re.split(r"[/\\]", text)
    ]
