"""What a configuration needs from the disk, checked before anything starts."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from trionyx_proxy.config.settings import Config, Engine, UpstreamSettings
from trionyx_proxy.errors import Problem

_ABSOLUTE = re.compile(r"/[^:,;=]*")


def check_files(config: Config, *, file: Path | None = None, minting: bool = False) -> tuple[Problem, ...]:
    """Return every problem with files, directories and commands; changes nothing on disk.

    What is found may change before it is used: whoever opens a file handles its absence again.

    Args:
        config: a configuration from `load`.
        file: where it was read from; no tool server may be handed it.
        minting: whether run tokens are to be minted, which needs the launcher's private key and no more.
    """
    if minting:
        return tuple(_check_minting(config))
    problems = [
        *_check_policy(config),
        *_check_private_key("audit.key", config.audit.key),
        *_check_origin(config),
        *_check_directory("audit.directory", config.audit.directory),
        *_check_directory("proxy.state_directory", config.state_directory),
    ]
    if config.runs.launcher_public_key is not None:
        problems += _check_file("runs.launcher_public_key", config.runs.launcher_public_key)
    if config.runs.launcher_key is not None and config.runs.launcher_key.exists():
        problems += _check_private_key("runs.launcher_key", config.runs.launcher_key)
    for upstream in config.upstreams:
        problems += _check_upstream(upstream)
        problems += _check_reach(upstream, config, file)
    return tuple(problems)


def resolve_command(upstream: UpstreamSettings) -> Path | None:
    """Return the program to start, or None where there is none.

    A bare name is sought on the PATH of the upstream's own environment, never on this process's.
    """
    program = upstream.command[0]
    path = upstream.env.get("PATH", os.defpath)
    found = program if "/" in program else shutil.which(program, path=path)
    if (
        found is None
        or not os.path.isabs(found)
        or not os.path.isfile(found)
        or not os.access(found, os.X_OK)
    ):
        return None
    return Path(found)


def _check_minting(config: Config) -> Iterator[Problem]:
    if config.runs.launcher_key is None:
        yield Problem("runs.launcher_key", "is required to mint a run token")
    else:
        yield from _check_private_key("runs.launcher_key", config.runs.launcher_key)
    yield from _check_directory("proxy.state_directory", config.state_directory)


def _check_policy(config: Config) -> Iterator[Problem]:
    bundle = config.policy.bundle
    if bundle is not None:
        if not bundle.exists():
            yield Problem("policy.bundle", f"does not exist: {bundle}")
        elif not os.access(bundle, os.R_OK | (os.X_OK if bundle.is_dir() else 0)):
            yield Problem("policy.bundle", f"cannot be read: {bundle}")
    command = config.policy.opa_command
    if config.policy.engine is Engine.OPA and command is not None:
        if not command.is_file():
            yield Problem("policy.opa_command", f"does not exist: {command}")
        elif not os.access(command, os.X_OK):
            yield Problem("policy.opa_command", f"is not executable: {command}")


def _check_file(place: str, path: Path) -> Iterator[Problem]:
    if not path.exists():
        yield Problem(place, f"does not exist: {path}")
    elif not path.is_file():
        yield Problem(place, f"is not a file: {path}")
    elif not os.access(path, os.R_OK):
        yield Problem(place, f"cannot be read: {path}")


def _check_private_key(place: str, path: Path) -> Iterator[Problem]:
    problems = list(_check_file(place, path))
    yield from problems
    if not problems and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Problem(place, f"is open to other users, run: chmod 600 {path}")


def _check_origin(config: Config) -> Iterator[Problem]:
    """Compare the log's name with the verifier key beside the audit key, which auditors hold."""
    beside = config.audit.key.with_name(config.audit.key.name + ".vkey")
    try:
        name = beside.read_text(encoding="utf-8").partition("+")[0]
    except (OSError, UnicodeDecodeError):
        return  # auditors may hold the public key in another form
    if config.audit.origin != name and not config.audit.origin.startswith(name + "/"):
        yield Problem("audit.origin", f"auditors' key {beside.name} is for logs below {name}")


def _check_directory(place: str, path: Path) -> Iterator[Problem]:
    """Check that a directory is writable, or can be made."""
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        yield Problem(place, f"is not a directory: {existing}")
    elif not os.access(existing, os.W_OK | os.X_OK):
        yield Problem(place, f"is not writable: {existing}")
    elif existing == path and stat.S_IMODE(path.stat().st_mode) & 0o002:
        yield Problem(place, f"is writable by everyone, run: chmod o-w {path}")


def _check_upstream(upstream: UpstreamSettings) -> Iterator[Problem]:
    place = f"upstreams.{upstream.alias}"
    if resolve_command(upstream) is None:
        program = upstream.command[0]
        where = "" if "/" in program else ", looked for on the PATH of its env"
        yield Problem(f"{place}.command", f"no such program: {program}{where}")
    if upstream.cwd is not None and not upstream.cwd.is_dir():
        yield Problem(f"{place}.cwd", f"is not a directory: {upstream.cwd}")


def _check_reach(upstream: UpstreamSettings, config: Config, file: Path | None) -> Iterator[Problem]:
    """Refuse to hand a tool server the very files that hold it to account.

    Looks at the working directory and at paths among the arguments; a server can still open whatever its
    user may. Run it as another user where that matters.
    """
    protected = {
        "audit.directory": config.audit.directory,
        "audit.key": config.audit.key,
        "proxy.state_directory": config.state_directory,
        "runs.launcher_key": config.runs.launcher_key,
        "runs.launcher_public_key": config.runs.launcher_public_key,
        "policy.bundle": config.policy.bundle,
        "policy.opa_command": config.policy.opa_command,
        "the configuration": file,
    }
    for setting, reached in _reached(upstream):
        for name, path in protected.items():
            if path is None:
                continue
            place = path.resolve()
            if place.is_relative_to(reached) or reached.is_relative_to(place):
                yield Problem(f"upstreams.{upstream.alias}.{setting}", f"reaches {name}: {path}")


def _reached(upstream: UpstreamSettings) -> Iterator[tuple[str, Path]]:
    here = upstream.cwd or Path("/")
    if upstream.cwd is not None:
        yield "cwd", upstream.cwd.resolve()
    for argument in upstream.command[1:]:
        # `--root=/x`, `-R/x`, `/a:/b`, `src=/x`, `file:///x`: whatever begins with a slash may be meant as a path.
        spelt = {argument, argument.partition("=")[2]}
        spelt |= {match[0] for match in _ABSOLUTE.finditer(argument)}
        for text in spelt:
            if "/" in text or text in (".", ".."):
                yield "command", (here / text).resolve()
