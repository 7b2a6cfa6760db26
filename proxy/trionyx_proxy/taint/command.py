"""`trionyx-proxy taint`: what untrusted runs left behind, from a terminal; clearing it is an act on record.

An act has a log of its own beside those of the runs, with one record, durable before anything is cleared.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from trionyx_audit.canonical import canonicalize
from trionyx_audit.keys import load_signer
from trionyx_audit.log import Draft, Log
from trionyx_policies.bundle import load_bundle
from trionyx_proxy.approvals.command import allowed_operator
from trionyx_proxy.approvals.display import quoted
from trionyx_proxy.approvals.people import approvers
from trionyx_proxy.catalog import Catalog
from trionyx_proxy.config import Config
from trionyx_proxy.errors import ConfigError, Problem, StateError
from trionyx_proxy.provenance import normal
from trionyx_proxy.taint.register import Everything, Marks, Register, Section, Target, Writings
from trionyx_proxy.token import mint_ulid

CLEARED = "taint.cleared"

Load = Callable[[Path], Config]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], load: Load) -> None:
    """Add the command and its own commands.

    Args:
        commands: of `trionyx-proxy`.
        load: reads and checks a configuration file.
    """
    group = commands.add_parser("taint", help="what untrusted runs left behind: list it, clear it")
    actions = group.add_subparsers(required=True, metavar="ACTION")
    listed = actions.add_parser("list", help="count what is kept, by tenant; names are kept as digests")
    listed.set_defaults(command=lambda options: _list(load(options.config), options))
    clear = actions.add_parser("clear", help="vouch for what untrusted runs wrote, on record")
    clear.set_defaults(command=lambda options: _clear(load(options.config), options))
    which = clear.add_mutually_exclusive_group(required=True)
    which.add_argument("--section", metavar="NAME", help="the resources of this section of the catalog")
    which.add_argument("--written-by", metavar="RUN", help="what this run mailed, posted or entered")
    which.add_argument("--everything", action="store_true", help="all of it, in all tenants")
    clear.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="NAME",
        help="of the section only this one; again for one that several arguments name, in the tool's order",
    )
    clear.add_argument("--tenant", default="", help="whose (default: the one without a name)")
    clear.add_argument("--reason", default="", metavar="TEXT", help="for the record")
    for parser in (listed, clear):
        parser.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="the configuration, TOML"
        )
        parser.add_argument("--json", action="store_true", help="print JSON, one value per line")


def _list(config: Config, options: argparse.Namespace) -> int:
    register = Register.open(config.state_directory)
    try:
        for marks in register.marks():
            print(_line(_described(marks)) if options.json else _told(marks))
    finally:
        register.close()
    return 0


def _clear(config: Config, options: argparse.Namespace) -> int:
    by = _allowed(config)
    target = _target(config, options)
    act = mint_ulid()
    register = Register.open(config.state_directory)
    try:
        cleared = register.clear(target, lambda: _record(config, options, act=act, by=by))
    finally:
        register.close()
    if not cleared:
        raise StateError("nothing of that is tainted; see: trionyx-proxy taint list")
    log = config.audit.directory / act
    print(
        _line({"act": act, "cleared": cleared, "log": str(log)})
        if options.json
        else f"cleared {cleared}, by {by}, on record in {log}"
    )
    return 0


def _allowed(config: Config) -> str:
    """Return the name under which this process's user vouches: an approver's, or the owner's of the state directory.

    Raises:
        StateError: this user may not.
    """
    return allowed_operator(approvers(config.approvals, config.state_directory))


def _target(config: Config, options: argparse.Namespace) -> Target:
    _check(options)
    if options.resource and options.section is None:
        raise ConfigError((Problem("--resource", "needs --section"),))
    if options.everything:
        if options.tenant:
            raise ConfigError((Problem("--everything", "is of all tenants"),))
        return Everything()
    if options.written_by is not None:
        return Writings(options.tenant, options.written_by)
    if not options.resource:
        return Section(options.tenant, options.section)
    catalog = Catalog.from_data(load_bundle(config.policy.bundle).data["trionyx"])
    return Section(options.tenant, options.section, spellings(catalog, options.section, options.resource))


def _check(options: argparse.Namespace) -> None:
    """Refuse names that are none: one that is empty would name more than was meant."""
    for name in ("section", "written_by", "tenant", "resource"):
        given = getattr(options, name)
        for text in given if isinstance(given, list) else [given]:
            is_empty = text == "" and name != "tenant"
            if text is not None and (is_empty or not text.isprintable()):
                raise ConfigError((Problem(f"--{name.replace('_', '-')}", "is no name"),))


def spellings(catalog: Catalog, section: str, names: list[str]) -> tuple[str, ...]:
    """Return how the state file may spell a resource: as it was given, and as the section's tools read its name.

    Args:
        catalog: of the policy in force.
        section: whose tools name it.
        names: of the one resource.
    """
    entries = [catalog.tool(section, tool) for tool in sorted(catalog.names(section))]
    types = {
        entry.arguments[shape].type
        for entry in entries
        if entry is not None and entry.resource is not None
        for shape in entry.resource.arguments
        if shape in entry.arguments
    }
    read = ["\0".join(normal(type_, name) or name for name in names) for type_ in sorted(types)]
    return tuple(dict.fromkeys(["\0".join(names), *read]))


def _record(config: Config, options: argparse.Namespace, *, act: str, by: str) -> None:
    """Put the act on record, in a log of its own.

    Raises:
        AuditError: it is not known to be durable.
    """
    body: dict[str, Any] = {"act": act, "by": by}
    payloads: dict[str, bytes] = {}
    if options.everything:
        body["everything"] = True
    else:
        body["tenant"] = options.tenant
    if options.section is not None:
        body["section"] = options.section
    if options.written_by is not None:
        body["written_by"] = options.written_by
    if options.resource:
        payloads["resource"] = orjson.dumps(options.resource)
    if options.reason:
        payloads["reason"] = options.reason.encode("utf-8", "replace")
    log = Log.open(
        config.audit.directory / act,
        signer=load_signer(config.audit.key),
        origin=f"{config.audit.origin}/{act}",
    )
    with log:
        log.submit(Draft(CLEARED, canonicalize(body), payloads)).result()


def _described(marks: Marks) -> dict[str, Any]:
    kept: dict[str, Any] = {"everything": marks.is_everything, "tenant": marks.tenant}
    if marks.run:
        return kept | {"bytes": marks.count, "written_by": marks.run}
    return kept | {"resources": marks.count, "section": marks.section}


def _told(marks: Marks) -> str:
    whose = f"tenant {quoted(marks.tenant)}" if marks.tenant else "no tenant"
    if marks.run:
        much = "anything may be its words" if marks.is_everything else f"bytes of digests: {marks.count}"
        return f"{whose}: written by {quoted(marks.run)}: {much}"
    if not marks.section:
        return "all tenants: everything that tools return, because the state file was lost"
    much = "everything" if marks.is_everything else f"marks of resources: {marks.count}"
    return f"{whose}: section {quoted(marks.section)}: {much}"


def _line(value: dict[str, Any]) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
