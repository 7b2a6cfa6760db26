"""The configuration as values, and its pure reading from TOML; touches no disk."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from trionyx_proxy.config.table import Table
from trionyx_proxy.core.label import BOTTOM, TOP, Label, parse_label
from trionyx_proxy.errors import ConfigError, Problem

_ALIAS = re.compile(r"[a-z0-9]+([_-][a-z0-9]+)*")
_ORIGIN = re.compile(r"[a-z0-9]([a-z0-9./_-]{0,126}[a-z0-9])?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MAX_ALIAS_CHARS = 32
OWN_ALIAS = "trionyx"
"""Server alias and catalog section of the proxy's own tools, which are offered as `trionyx_NAME`."""


class Engine(StrEnum):
    """What evaluates the policy."""

    WASM = "wasm"
    OPA = "opa"


class Unregistered(StrEnum):
    """What happens to a run without a token."""

    ALLOW = "allow"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Which policy is in force and what its evaluation may cost; `bundle` None is the shipped one."""

    bundle: Path | None
    engine: Engine
    opa_command: Path | None
    deadline_ms: int
    memory_mb: int


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """Where each run's log goes: `directory/<run>`, of origin `origin/<run>`, signed with `key`."""

    directory: Path
    origin: str
    key: Path
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Who vouches for runs, and where their labels start.

    Args:
        launcher_key: private key, only for minting.
        launcher_public_key: accepts tokens; None where none are accepted.
        floor: label of a run without a token, and the least label of every other.
    """

    launcher_key: Path | None
    launcher_public_key: Path | None
    unregistered: Unregistered
    floor: Label


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds of one call and of calls at once."""

    call_timeout_ms: int
    max_result_bytes: int
    max_argument_bytes: int
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """One upstream server to start.

    Args:
        alias: first part of its tools' names.
        command: program and arguments; a program with a slash is absolute, else it is sought on env's PATH.
        catalog: section of the catalog that classifies its tools.
        env: its whole environment.
        cwd: its working directory; None leaves it to whoever starts it.
    """

    alias: str
    command: tuple[str, ...]
    catalog: str
    env: Mapping[str, str] = field(repr=False)  # may hold credentials
    cwd: Path | None
    start_timeout_ms: int


@dataclass(frozen=True, slots=True)
class ApprovalSettings:
    """Who is asked about calls that the policy leaves to a person.

    Args:
        wait_ms: how long a call waits for an answer; it is refused then, and the question stays open.
        ttl_s: how long a question may be answered and an approval used, from the call's arrival.
        approvers: names of operating-system users whose answers count; empty: the owner of the state directory.
        elicitation: the operator says that a person sees the dialogs of the agent's client, and that the agent
            cannot answer them.
    """

    wait_ms: int
    ttl_s: int
    approvers: tuple[str, ...]
    elicitation: bool


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that reads well; whether its files exist is for `check_files`."""

    state_directory: Path
    policy: PolicySettings
    audit: AuditSettings
    runs: RunSettings
    limits: LimitSettings
    upstreams: tuple[UpstreamSettings, ...]
    approvals: ApprovalSettings | None = None
    """None: nobody can be asked, and what needs a person is denied."""


def load(text: str, *, base: Path) -> Config:
    """Read a configuration; does not look at the disk.

    Args:
        text: TOML 1.0.
        base: the configuration file's directory; relative paths are taken from it.

    Raises:
        ConfigError: with every problem found.
    """
    try:
        document: object = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        detail = str(error).splitlines()[0] if str(error) else "cannot be read"
        raise ConfigError((Problem("", f"not valid toml: {detail[:1].lower()}{detail[1:120]}"),)) from None
    problems: list[Problem] = []
    root = Table("", document, problems, base)
    proxy = root.table("proxy")
    state_directory = proxy.file("state_directory") or base / "state"
    proxy.finish()
    config = Config(
        state_directory=state_directory,
        policy=_policy(root.table("policy")),
        audit=_audit(root.table("audit")),
        runs=_runs(root.table("runs")),
        limits=_limits(root.table("limits")),
        upstreams=_upstreams(root.table("upstreams"), base),
        approvals=None if root.get("approvals") is None else _approvals(root.table("approvals")),
    )
    if not config.upstreams and not any(problem.path.startswith("upstreams") for problem in problems):
        root.problem("upstreams", "at least one upstream is required")
    root.finish()
    if problems:
        raise ConfigError(tuple(problems))
    return config


def _policy(table: Table) -> PolicySettings:
    settings = PolicySettings(
        bundle=table.file("bundle"),
        engine=Engine(table.choice("engine", tuple(Engine), Engine.WASM)),
        opa_command=table.file("opa_command"),
        deadline_ms=table.integer("deadline_ms", 10, 60_000, 250),
        memory_mb=table.integer("memory_mb", 16, 4_096, 64),
    )
    table.finish()
    return settings


def _audit(table: Table) -> AuditSettings:
    origin = table.required("origin")
    if origin and not _ORIGIN.fullmatch(origin):
        # It becomes the name of a key in signed notes, where "+" and spaces separate.
        table.problem("origin", "must be a name like corp.example/trionyx: a-z, 0-9 and ./_- only")
    settings = AuditSettings(
        directory=table.required_file("directory"),
        origin=origin,
        key=table.required_file("key"),
        deadline_ms=table.integer("deadline_ms", 10, 60_000, 1_000),
    )
    table.finish()
    return settings


def _runs(table: Table) -> RunSettings:
    floor = BOTTOM
    described = table.get("floor")
    if described is not None:
        floor = parse_label(described)
        if floor == TOP and described != TOP.to_json():
            table.problem("floor", "must be a label with integrity, level, readers and categories")
    settings = RunSettings(
        launcher_key=table.file("launcher_key"),
        launcher_public_key=table.file("launcher_public_key"),
        unregistered=Unregistered(table.choice("unregistered", tuple(Unregistered), Unregistered.REFUSE)),
        floor=floor,
    )
    if settings.launcher_public_key is None and settings.unregistered is Unregistered.REFUSE:
        table.problem("launcher_public_key", 'is required unless unregistered = "allow"')
    table.finish()
    return settings


def _limits(table: Table) -> LimitSettings:
    settings = LimitSettings(
        call_timeout_ms=table.integer("call_timeout_ms", 100, 3_600_000, 60_000),
        max_result_bytes=table.integer("max_result_bytes", 1_024, 4 << 20, 1 << 20),
        max_argument_bytes=table.integer("max_argument_bytes", 1_024, 1 << 20, 1 << 20),
        max_in_flight=table.integer("max_in_flight", 1, 1_024, 32),
    )
    table.finish()
    return settings


def _approvals(table: Table) -> ApprovalSettings:
    approvers = table.texts("approvers")
    for name in approvers:
        if not _USER.fullmatch(name):
            table.problem("approvers", "must be names of users: letters, digits and ._- only")
            break
    settings = ApprovalSettings(
        wait_ms=table.integer("wait_ms", 0, 3_600_000, 30_000),
        ttl_s=table.integer("ttl_s", 1, 604_800, 3_600),
        approvers=approvers,
        elicitation=table.boolean("elicitation", False),
    )
    if settings.wait_ms > settings.ttl_s * 1_000:
        table.problem("wait_ms", "must not be longer than ttl_s")
    table.finish()
    return settings


def _upstreams(table: Table, base: Path) -> tuple[UpstreamSettings, ...]:
    upstreams: list[UpstreamSettings] = []
    for alias in table.members():
        if not _ALIAS.fullmatch(alias) or len(alias) > MAX_ALIAS_CHARS:
            shown = alias if alias.isprintable() and len(alias) <= 64 else "…"
            table.problem(
                shown, f"an alias is a-z, 0-9 and single - or _, at most {MAX_ALIAS_CHARS} characters"
            )
            continue
        if alias == OWN_ALIAS:
            table.problem(alias, "this alias is the proxy's own")
            continue
        upstreams.append(_upstream(alias, table.table(alias), base))
    return tuple(upstreams)


def _upstream(alias: str, table: Table, base: Path) -> UpstreamSettings:
    command = table.texts("command")
    if not command or not command[0]:
        table.problem("command", "is required: a list of the program and its arguments")
    elif "/" in command[0]:
        command = (str(base / command[0]), *command[1:])
    env: dict[str, str] = {}
    variables = table.table("env")
    for name in variables.members():
        value = variables.get(name)
        if not _VARIABLE.fullmatch(name):
            variables.problem(
                name if name.isprintable() and len(name) <= 64 else "…", "not a name of a variable"
            )
        elif not isinstance(value, str) or "\0" in value:
            variables.problem(name, "must be a string")
        else:
            env[name] = value
    settings = UpstreamSettings(
        alias=alias,
        command=command,
        catalog=table.text("catalog", alias) or alias,
        env=env,
        cwd=table.file("cwd"),
        start_timeout_ms=table.integer("start_timeout_ms", 100, 600_000, 10_000),
    )
    table.finish()
    return settings
