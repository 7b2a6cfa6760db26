"""Agent definitions: Markdown with YAML front matter, read strictly.

The front matter says how the runtime is started; the body is the system prompt. What the agent may *do* is
the policy's matter: a definition can only narrow what the proxy offers.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from trionyx_agents.errors import AgentError

MAX_BYTES = 256 * 1024
_FENCE = re.compile(r"\A---[ \t]*\n(?P<front>.*?)^---[ \t]*(?:\n|\Z)(?P<body>.*)\Z", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/\[\]-]{0,127}")
_TOOL = re.compile(r"trionyx_[a-z_]{1,64}|[a-z0-9][a-z0-9-]*(?:_[a-z0-9-]+)*__[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Definition:
    """One agent, as its file describes it.

    Args:
        name: lower-case letters, digits and hyphens, at most 64; the agent's name in run tokens and records.
        description: one line for people.
        model: model name as the runtime takes it.
        tools: `server__tool` names the agent needs, and `trionyx_…` for tools of the proxy's own; None means
            whatever the proxy offers.
        max_turns: model turns after which the run ends, 1 to 1000.
        max_budget_usd: spending after which the run ends, or None.
        system_prompt: the body, without surrounding blank lines; never empty.
        sha256: hex digest of the file.
    """

    name: str
    description: str
    model: str
    tools: frozenset[str] | None
    max_turns: int
    max_budget_usd: float | None
    system_prompt: str
    sha256: str


def load_definition(path: Path) -> Definition:
    """Read one definition file; does not check that the proxy offers its tools.

    Raises:
        AgentError: all problems at once, each as `file: key: message`.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise AgentError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    try:
        return parse_definition(source)
    except AgentError as error:
        raise AgentError(*(f"{path}: {problem}" for problem in error.problems)) from error


def parse_definition(source: bytes) -> Definition:
    """Parse the bytes of a definition.

    Raises:
        AgentError: all problems at once, each as `key: message`.
    """
    if len(source) > MAX_BYTES:
        raise AgentError(f"larger than {MAX_BYTES} bytes")
    try:
        text = source.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise AgentError(f"not UTF-8 at byte {error.start}") from error
    parts = _FENCE.match(text)
    if parts is None:
        raise AgentError("no front matter: the file must begin with a block between two lines of ---")
    front = _front_matter(parts["front"])
    problems = [f"{key}: unknown key" for key in front if key not in _FIELDS]
    values: dict[str, Any] = {}
    for key, field in _FIELDS.items():
        try:
            values[key] = field(front.get(key))
        except ValueError as error:
            problems.append(f"{key}: {error}")
    body = parts["body"].strip()
    if not body:
        problems.append("the body, which is the system prompt, is empty")
    if "\x00" in body:
        problems.append("the body holds a NUL character")
    if problems:
        raise AgentError(*problems)
    return Definition(**values, system_prompt=body, sha256=hashlib.sha256(source).hexdigest())


def _front_matter(text: str) -> Mapping[str, object]:
    # YAML 1.2, so `on` and `no` are words; the safe reader refuses duplicate keys and builds no objects.
    reader = YAML(typ="safe", pure=True)
    try:
        value = reader.load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 2 if error.problem_mark is not None else 1
        raise AgentError(f"line {line}: {_one_line(error.problem or 'not YAML')}") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise AgentError("the front matter is not YAML") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise AgentError("the front matter must be a mapping of names to values")
    return value


def _one_line(message: str) -> str:
    return " ".join(message.split()).rstrip(".").lower()


def _matching(pattern: re.Pattern[str], expected: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if value is None:
            raise ValueError("missing")
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise ValueError(f"must be {expected}")
        return value

    return read


def _description(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise ValueError("must be one line of text")
    return value


def _tools(value: object) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value:
        raise ValueError("must be a list of server__tool names, or absent for all that the proxy offers")
    for entry in value:
        if not isinstance(entry, str) or not _TOOL.fullmatch(entry):
            raise ValueError(f"{entry!r} is not a server__tool name")
    if len(set(value)) != len(value):
        raise ValueError("a name occurs twice")
    return frozenset(value)


def _max_turns(value: object) -> int:
    if value is None:
        return 50
    if type(value) is not int or not 1 <= value <= 1000:
        raise ValueError("must be a whole number from 1 to 1000")
    return value


def _max_budget_usd(value: object) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not isinstance(value, int | float):
        raise ValueError("must be an amount in dollars")
    if not (math.isfinite(value) and 0 < value <= 10_000):
        raise ValueError("must be more than 0 and at most 10000 dollars")
    return float(value)


_FIELDS: Mapping[str, Callable[[object], object]] = {
    "name": _matching(_NAME, "lower-case letters, digits and hyphens, at most 64, beginning with a letter"),
    "description": _description,
    "model": _matching(_MODEL, "a model name"),
    "tools": _tools,
    "max_turns": _max_turns,
    "max_budget_usd": _max_budget_usd,
}
