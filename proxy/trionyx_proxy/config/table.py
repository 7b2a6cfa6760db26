"""One table of a TOML document, read key by key; collects problems instead of stopping at the first."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from trionyx_proxy.errors import Problem


class Table:
    """Reads the members of one table; every member is asked for once, and `finish` reports the others.

    Problems name the place and what is wanted, never the value: an environment may hold secrets.
    """

    def __init__(self, path: str, value: object, problems: list[Problem], base: Path) -> None:
        self._path = path
        self._problems = problems
        self._base = base
        self._known: set[str] = set()
        self._values: Mapping[str, object] = {}
        if isinstance(value, dict):
            self._values = value
        else:
            problems.append(Problem(path, "must be a table"))

    def problem(self, key: str, message: str) -> None:
        """Note a problem with one member."""
        self._problems.append(Problem(self._place(key), message))

    def _place(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def get(self, key: str) -> object:
        """Return a member of any type, or None; marks it as known."""
        self._known.add(key)
        return self._values.get(key)

    def table(self, key: str) -> Table:
        """Return a member table; a missing one is empty."""
        value = self.get(key)
        return Table(self._place(key), {} if value is None else value, self._problems, self._base)

    def members(self) -> list[str]:
        """Return the names of all members, and mark them as known: their names are free."""
        self._known |= self._values.keys()
        return list(self._values)

    def text(self, key: str, default: str | None = None) -> str | None:
        """Return a non-empty string without control characters."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or not value or not value.isprintable():
            self.problem(key, "must be a non-empty string of printable characters")
            return default
        return value

    def required(self, key: str) -> str:
        """Return a string that must be there; "" after noting that it is not."""
        if self._values.get(key) is None:
            self._known.add(key)
            self.problem(key, "is required")
            return ""
        return self.text(key) or ""

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """Return one of the given words."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, str) or value not in choices:
            self.problem(key, "must be " + " or ".join(f'"{choice}"' for choice in choices))
            return default
        return value

    def integer(self, key: str, low: int, high: int, default: int) -> int:
        """Return an integer within bounds, both included."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.problem(key, f"must be an integer from {low} to {high}")
            return default
        return value

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(key, "must be true or false")
            return default
        return value

    def file(self, key: str) -> Path | None:
        """Return a path, relative ones taken from the configuration file's directory."""
        text = self.text(key)
        return None if text is None else self._base / text

    def required_file(self, key: str) -> Path:
        """Return a path that must be given."""
        return self._base / self.required(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty when missing."""
        value = self.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(_is_argument(element) for element in value):
            self.problem(key, "must be a list of strings")
            return ()
        return tuple(value)

    def finish(self) -> None:
        """Report members that nobody asked for."""
        for key in self._values:
            if key not in self._known:
                close = difflib.get_close_matches(key, sorted(self._known), n=1)
                shown = key if key.isprintable() and len(key) <= 64 else "…"
                hint = f", did you mean {close[0]}" if close else ""
                self.problem(shown, f"unknown setting{hint}")


def _is_argument(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value
