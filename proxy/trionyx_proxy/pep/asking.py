"""How a served run comes to its approvals: whom the configuration names, and what they vouched for as facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from trionyx_proxy.approvals.desk import Approvals, DeskSettings
from trionyx_proxy.approvals.journal import Journal
from trionyx_proxy.approvals.people import approvers
from trionyx_proxy.approvals.question import at
from trionyx_proxy.approvals.rows import Endorsement
from trionyx_proxy.approvals.store import ApprovalStore
from trionyx_proxy.arguments import JSON
from trionyx_proxy.config import Config
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.request import CallId
from trionyx_proxy.pep.recorder import Recorder

OnExit = Callable[[Callable[[], None]], object]
Past = Iterable[tuple[str, Mapping[str, Any]]]


def ttl_ms(config: Config) -> int:
    """Return how long a question may be answered, milliseconds; 0 where nobody is asked."""
    return 0 if config.approvals is None else config.approvals.ttl_s * 1_000


def open_approvals(
    config: Config, identity: Identity, recorder: Recorder, past: Past, on_exit: OnExit
) -> Approvals | None:
    """Return the approvals of a run, None where nobody is asked.

    Args:
        config: says who is asked, and how.
        identity: of the run.
        recorder: of the run's log.
        past: what earlier processes of the run recorded.
        on_exit: is told how to close the file.

    Raises:
        StateError: the approvals file cannot be used.
    """
    settings = config.approvals
    if settings is None:
        return None
    store = ApprovalStore.open(config.state_directory)
    on_exit(store.close)
    journal = Journal(identity, recorder.store)
    journal.remember(past)
    people = approvers(settings, config.state_directory)
    # A client's dialog answers for the run's user, who then has to be among those who are named.
    named = not settings.approvers or identity.user in settings.approvers
    return Approvals(
        store,
        identity,
        journal,
        DeskSettings(settings.wait_ms / 1_000, people, settings.elicitation and named),
    )


Vouches = Callable[..., Endorsement | None]
"""`Approvals.vouches`."""


def vouched(origins: list[JSON], arguments: JSON, *, tool: str, call: CallId, vouches: Vouches) -> list[JSON]:
    """Return origins with what people vouched for: such a value counts as the user's own word, in its role.

    Args:
        origins: `facts.origins`; links within texts are not values of their own.
        arguments: as they will be decided.
        tool: offered name of the tool.
        call: the call's id.
        vouches: looks an endorsement up.
    """
    return [_vouched(origin, arguments, tool, call, vouches) for origin in origins]


def _vouched(origin: JSON, arguments: JSON, tool: str, call: CallId, vouches: Vouches) -> JSON:
    if not isinstance(origin, dict) or origin.get("integrity") != "public" or origin.get("role") == "link":
        return origin
    value = at(arguments, str(origin.get("arg")))
    if not isinstance(value, str | int | float | bool):
        return origin
    found = vouches(str(origin.get("type")), value, str(origin.get("role")), tool=tool, call=call)
    if found is None:
        return origin
    source: JSON = {"call": found.id, "kind": "endorsement", "pointer": "", "tool": found.tool}
    return origin | {"integrity": "user", "sources": [source]}
