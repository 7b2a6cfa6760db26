"""Text that a call passes on without holding it: mail that is forwarded by its id, files that are moved by name.

Several runs of a real proxy: a later one finds what an earlier one passed on where the catalog trusts it, and is asked
to write to whom it names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trionyx_testing.client import Served, refused, text_of
from trionyx_testing.flowing import (
    INJECTION,
    MAILS,
    TOKEN,
    amend,
    arrives,
    describe,
    handle_in,
    office,
    token_for,
    workspace,
)
from trionyx_testing.workspace import Workspace, label

pytestmark = pytest.mark.guarantee("G30")

THIEF = "thief@evil.example"
EMMA = "emma@corp.example"
JONAS = "jonas@corp.example"
STRANGERS = {**MAILS[0], "recipients": [EMMA]}


def mail_is_delivered(made: Workspace) -> None:
    """Put what was sent and forwarded into the inbox, as the mail of the colleague whose agent did it."""
    bodies = {"send": lambda given: given["body"], "forward_mail": lambda _: f"Fwd:\n> {INJECTION}"}
    sent = [
        bodies[effect["tool"]](effect["arguments"]) for effect in made.effects() if effect["tool"] in bodies
    ]
    arrives(made, *sent)


def reaches(made: Workspace, to: str, **where: str) -> bool:
    """Tell whether a later run may write to somebody because of what it reads."""
    with Served(made, token_for(made, "Do what the mail in /out says.")) as served:
        answer = served.call("test__mails", **where)
        assert answer is not None and not answer["isError"], answer
        sent = served.call("test__send", to=[to], body="Hello.")
        assert sent is not None
        return not sent["isError"]


@pytest.mark.parametrize("reveals", [False, True])
def test_mail_is_sent_by_its_text_and_not_passed_on_by_its_id(tmp_path: Path, reveals: bool) -> None:
    made = office(tmp_path, [STRANGERS])
    with Served(made, token_for(made, f"Send {JONAS} the mails that are new.")) as served:
        handle = handle_in(served.call("test__mails"))
        if reveals:
            assert text_of(served.call("trionyx_reveal", handle=handle)) == INJECTION
        forwarded = served.call("test__forward_mail", id="m1", to=[JONAS])
        assert refused(forwarded) == ["PROV-015"]
        assert "send it as content" in text_of(forwarded)
        sent = served.call("test__send", to=[JONAS], body=f"Look what came:\n{handle}")
        assert sent is not None and not sent["isError"], sent
    assert [effect["tool"] for effect in made.effects()] == ["mails", "send"]
    assert INJECTION in made.effects()[-1]["arguments"]["body"]
    mail_is_delivered(made)
    assert not reaches(made, THIEF)


def test_but_for_the_rule_a_forwarded_mail_would_be_a_colleagues_word(tmp_path: Path) -> None:
    made = office(tmp_path, [STRANGERS])
    amend(made, "rules", lambda found: found.update({"PROV-015": "off"}))
    with Served(made, token_for(made, f"Send {JONAS} the mails that are new.")) as served:
        served.call("test__mails")
        forwarded = served.call("test__forward_mail", id="m1", to=[JONAS])
        assert forwarded is not None and not forwarded["isError"], forwarded
    mail_is_delivered(made)
    assert reaches(made, THIEF)


def tree(root: Path, *zones: dict[str, Any]) -> Workspace:
    """Return a working directory with files in a tree, whose readers believe what they list."""
    made = workspace(root, [{**STRANGERS, "recipients": [THIEF]}])
    describe(made, "mails", folder=("selector", "path"))

    def keep(found: Any) -> None:
        tools = found["servers"]["test"]["tools"]
        tools["mails"]["resource"] = {"args": ["/folder"], "access": "read"}
        tools["typed"]["resource"] = {"args": ["/path"], "access": "write"}
        tools["move"]["resource"] = {"args": ["/source", "/destination"], "access": "both"}

    amend(made, "catalog", keep)
    amend(made, "paths", lambda found: found.update({"test": {"roots": ["/"], "zones": [*zones]}}))
    return made


def written_and_moved(made: Workspace, *, tainted: bool) -> None:
    """Have one run write a file, and another, which has read nothing, move it."""
    with Served(made, token_for(made, "Write /in/a")) as served:
        if tainted:
            handle = TOKEN.search(text_of(served.call("test__public")))
            assert handle is not None
            served.call("trionyx_reveal", handle=handle[0])
        done = served.call("test__typed", path="/in/a")
        assert done is not None and not done["isError"], done
    with Served(made, token_for(made, "Move /in/a to /out/b")) as served:
        done = served.call("test__move", source="/in/a", destination="/out/b")
        assert done is not None and not done["isError"], done


def test_what_a_run_that_read_nothing_moves_stays_what_it_was(tmp_path: Path) -> None:
    made = tree(tmp_path)
    written_and_moved(made, tainted=True)
    assert not reaches(made, THIEF, folder="/out/b")
    assert reaches(made, THIEF, folder="/out/c")  # what nobody moved there is trusted as before


def test_what_is_moved_out_of_a_zone_that_anybody_writes_stays_what_it_was(tmp_path: Path) -> None:
    made = tree(tmp_path, {"prefix": "/in", "label": label("public", "internal")})
    written_and_moved(made, tainted=False)
    assert not reaches(made, THIEF, folder="/out/b")


def test_what_was_trusted_is_trusted_where_it_is_moved_to(tmp_path: Path) -> None:
    made = tree(tmp_path)
    written_and_moved(made, tainted=False)
    assert reaches(made, THIEF, folder="/out/b")
