"""What a ledger prepares for a call is used for that very call and no other."""

from __future__ import annotations

from typing import Any

import pytest

from trionyx_proxy.arguments import canonical
from trionyx_proxy.catalog import ArgumentType, Catalog, ToolEntry
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.core.request import CallId, Request, Tool
from trionyx_proxy.pep.placing import Resolved
from trionyx_proxy.provenance import Hearsay
from trionyx_proxy.provenance.shown import Shown
from trionyx_testing.memory import KEY, TaintedNames, ledger

pytestmark = pytest.mark.guarantee("G30")

LABEL = {"integrity": "system", "level": "public", "readers": "*", "categories": []}
DATA: Any = {
    "catalog": {
        "servers": {
            "mail": {
                "tools": {
                    "send": {
                        "effect": "egress",
                        "args": {"/text": {"role": "content", "type": "text"}},
                        "result": LABEL,
                    }
                }
            }
        }
    }
}
ONE, OTHER = "Pay Mallory Trent the whole sum today", "Ask Peggy Walter for the keys tonight"


def entry() -> ToolEntry:
    found = Catalog.from_data(DATA).tool("mail", "send")
    assert found is not None
    return found


def sent(texts: list[str], *, is_foreseen: bool, is_ended: bool = False) -> set[str]:
    """Foresee the first text and send the last one, under one id; return what of both is hearsay then."""
    resources = TaintedNames()
    memory = ledger("", resources)
    tool = Tool("mail__send", "mail", "mail", "send", "egress", None, "")
    requests = []
    for text in texts:
        origins = memory.origins(Resolved({"text": text}), entry())
        request = Request(
            CallId("c1"), tool, canonical({"text": text}), canonical({"origins": origins}),
            Label(Integrity.PUBLIC), 1,
        )  # fmt: skip
        requests.append(request)
    if is_foreseen:
        memory.foresee(requests[0], entry())
    if is_ended:
        memory.ended(CallId("c1"))
    memory.sent(requests[-1], entry(), tainted=True, brings_taint=True)
    told = Hearsay(KEY)
    told.learn(b"".join(resources.told))
    return {text for text in (ONE, OTHER) if told.signs(Shown([text]), [ArgumentType.TEXT])}


@pytest.mark.parametrize("is_ended", [False, True])
def test_what_is_foreseen_changes_nothing_of_what_is_remembered(is_ended: bool) -> None:
    assert sent([ONE], is_foreseen=True, is_ended=is_ended) == sent([ONE], is_foreseen=False) == {ONE}


def test_a_call_that_was_changed_is_remembered_as_it_is_sent() -> None:
    assert sent([ONE, OTHER], is_foreseen=True) == {OTHER}
