"""`trionyx-proxy approvals`: what people do about questions, from a terminal. Parses, calls the store, prints.

It writes rows and nothing else: the process that serves the run records an answer, and only then does it count.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from trionyx_proxy.approvals import listing
from trionyx_proxy.approvals.display import quoted, render
from trionyx_proxy.approvals.people import approvers, operator
from trionyx_proxy.approvals.rows import ANY_TOOL, Endorsement, Entry, Scope, Standing
from trionyx_proxy.approvals.store import ApprovalStore
from trionyx_proxy.config import Config
from trionyx_proxy.errors import ApprovalsError, ConfigError, Problem, StateError

Load = Callable[[Path], Config]


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser], load: Load) -> None:
    """Add the command and its own commands.

    Args:
        commands: of `trionyx-proxy`.
        load: reads and checks a configuration file.
    """
    group = commands.add_parser("approvals", help="what agents ask people: list, show, approve, reject")
    actions = group.add_subparsers(required=True, metavar="ACTION")

    def action(
        name: str, run: Callable[[ApprovalStore, argparse.Namespace], int], help_: str
    ) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help_)
        parser.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="the configuration, TOML"
        )
        parser.set_defaults(command=lambda options: _opened(load(options.config), run, options))
        return parser

    listed = action("list", _list, "list the questions that wait for an answer")
    listed.add_argument("--all", action="store_true", help="also those that are answered or over")
    shown = action("show", _show, "show one question in full")
    approve = action("approve", _approve, "say yes to one call, once")
    approve.add_argument(
        "--endorse",
        choices=[scope.value for scope in Scope],
        help="also vouch for the call's doubtful values",
    )
    approve.add_argument(
        "--any-tool", action="store_true", help="vouch for them in calls of every tool, not of this one only"
    )
    approve.add_argument(
        "--only",
        action="append",
        metavar="POINTER",
        help="vouch for this value only, as `show` names it (/to/0); may be given again",
    )
    reject = action("reject", _reject, "say no to one call")
    reject.add_argument("--reason", default="", metavar="TEXT", help="for the record; the agent is not told")
    vouch = action("endorse", _endorse, "vouch for a value that nobody has asked about")
    vouch.add_argument("--kind", required=True, help="as in the catalog: email, iban, host, id …")
    vouch.add_argument("--role", required=True, help="as in the catalog: target, selector, amount …")
    vouch.add_argument(
        "--tool", default=ANY_TOOL, help="offered name of the one tool it counts for (default: every)"
    )
    vouch.add_argument("--tenant", default="", help="in which it counts (default: the one without a name)")
    vouch.add_argument(
        "--run", default="", help="the only run it counts in (default: every run of the tenant)"
    )
    vouch.add_argument("value", metavar="VALUE")
    vouched = action("endorsements", _endorsements, "list the values that people vouched for")
    vouched.add_argument("--all", action="store_true", help="also the revoked ones")
    revoke = action("revoke", _revoke, "take back an endorsement")
    for parser in (shown, approve, reject, revoke):
        parser.add_argument("id", metavar="ID")
    for parser in (listed, shown, approve, reject, vouch, vouched, revoke):
        parser.add_argument("--json", action="store_true", help="print JSON, one value per line")
    served = action("serve", _serve, "serve the same over HTTP on this machine only")
    served.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1 (default: any free one)")


def _opened(
    config: Config, run: Callable[[ApprovalStore, argparse.Namespace], int], options: argparse.Namespace
) -> int:
    if config.approvals is None:
        raise ConfigError((Problem("approvals", "is not configured: no agent asks anybody"),))
    try:
        store = ApprovalStore.open(config.state_directory)
        try:
            options.allowed = approvers(config.approvals, config.state_directory)
            options.directory = config.state_directory
            return run(store, options)
        finally:
            store.close()
    except StateError as error:
        raise ApprovalsError(str(error)) from error


def _list(store: ApprovalStore, options: argparse.Namespace) -> int:
    for entry in store.all():
        if options.all or entry.standing is Standing.PENDING:
            print(listing.line(listing.summary(entry)) if options.json else _row(entry))
    return 0


def _show(store: ApprovalStore, options: argparse.Namespace) -> int:
    entry = _found(store, options.id)
    print(
        listing.line(listing.detail(entry)) if options.json else f"{_row(entry)}\n\n{render(entry.question)}",
        end="",
    )
    if options.json:
        print()
    return 0


def _approve(store: ApprovalStore, options: argparse.Namespace) -> int:
    by = allowed_operator(options.allowed)
    scope = None if options.endorse is None else Scope(options.endorse)
    entry, given = store.approve(options.id, by, scope=scope, any_tool=options.any_tool, only=options.only)
    if options.json:
        print(
            listing.line(listing.summary(entry) | {"endorsements": [listing.described(one) for one in given]})
        )
        return 0
    print(f"approved {entry.id}: one call of {quoted(entry.question.tool)}, once")
    for endorsement in given:
        print(_vouched(endorsement))
    return 0


def _reject(store: ApprovalStore, options: argparse.Namespace) -> int:
    entry = store.reject(options.id, allowed_operator(options.allowed), options.reason)
    print(listing.line(listing.summary(entry)) if options.json else f"rejected {entry.id}")
    return 0


def _endorse(store: ApprovalStore, options: argparse.Namespace) -> int:
    given = store.endorse(
        options.value,
        allowed_operator(options.allowed),
        kind=options.kind,
        role=options.role,
        tool=options.tool,
        tenant=options.tenant,
        run=options.run,
    )
    print(listing.line(listing.described(given)) if options.json else _vouched(given))
    return 0


def _endorsements(store: ApprovalStore, options: argparse.Namespace) -> int:
    for endorsement in store.endorsements():
        if options.all or not endorsement.revoked_ms:
            print(listing.line(listing.described(endorsement)) if options.json else _vouched(endorsement))
    return 0


def _revoke(store: ApprovalStore, options: argparse.Namespace) -> int:
    store.revoke(options.id, allowed_operator(options.allowed))
    print(
        listing.line({"endorsement": options.id, "revoked": True})
        if options.json
        else f"revoked {options.id}"
    )
    return 0


def _serve(store: ApprovalStore, options: argparse.Namespace) -> int:
    from trionyx_proxy.approvals.server import serve  # a web server: half a second that nothing else needs

    return serve(store, options.directory, by=allowed_operator(options.allowed), port=options.port)


def allowed_operator(allowed: frozenset[str]) -> str:
    """Return the name under which this process's user answers.

    Raises:
        StateError: this user's answers do not count.
    """
    by = operator()
    if by not in allowed:
        raise StateError(f"{by} is not among the approvers")
    return by


def _found(store: ApprovalStore, id_: str) -> Entry:
    entry = store.get(id_)
    if entry is None:
        raise StateError(f"there is no question {id_[:40]!a}; see: trionyx-proxy approvals list --all")
    return entry


def _row(entry: Entry) -> str:
    left = max(0, entry.expires_ms // 1_000 - int(time.time()))
    rules = " ".join(id_ for id_, _ in entry.question.rules)
    who = f" by {entry.by}" if entry.by else ""
    return f"{entry.id}  {entry.standing}{who}  {quoted(entry.question.tool)}  {rules}  {left} s left  run {entry.run}"


def _vouched(endorsement: Endorsement) -> str:
    revoked = f", revoked by {endorsement.revoked_by}" if endorsement.revoked_ms else ""
    return (
        f"{endorsement.id}  {quoted(endorsement.value)}  as {quoted(endorsement.role)} ({quoted(endorsement.kind)}) "
        f"for {quoted(endorsement.tool)}, scope {endorsement.scope}, by {endorsement.by}{revoked}"
    )
