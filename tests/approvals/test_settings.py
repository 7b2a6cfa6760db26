"""The `[approvals]` table: strict, every problem at once, and nobody asked without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trionyx_proxy.approvals.people import approvers, operator
from trionyx_proxy.config import ApprovalSettings, load
from trionyx_proxy.errors import ConfigError

pytestmark = pytest.mark.guarantee("G27")

BASE = Path("/etc/trionyx")
LEAST = """
[audit]
directory = "audit"
origin = "corp.example/trionyx"
key = "audit.key"
[runs]
launcher_public_key = "launcher.pub"
[upstreams.mail]
command = ["/usr/bin/python3", "-m", "mail_server"]
"""


def test_without_the_table_nobody_is_asked() -> None:
    assert load(LEAST, base=BASE).approvals is None


def test_an_empty_table_asks_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    settings = load(LEAST + "[approvals]\n", base=BASE).approvals
    assert settings == ApprovalSettings(wait_ms=30_000, ttl_s=3_600, approvers=(), elicitation=False)
    assert approvers(settings, tmp_path) == {operator()}


def test_named_approvers_are_the_only_ones(tmp_path: Path) -> None:
    settings = load(LEAST + '[approvals]\napprovers = ["dana", "uid-7"]\n', base=BASE).approvals
    assert settings is not None and approvers(settings, tmp_path) == {"dana", "uid-7"}


def test_every_problem_is_reported() -> None:
    bad = '[approvals]\nwait_ms = -1\nttl_s = 0\napprovers = ["client of emma"]\nelicitation = "yes"\nwait = 1\n'
    with pytest.raises(ConfigError) as caught:
        load(LEAST + bad, base=BASE)
    assert [str(problem) for problem in caught.value.problems] == [
        "approvals.approvers: must be names of users: letters, digits and ._- only",
        "approvals.wait_ms: must be an integer from 0 to 3600000",
        "approvals.ttl_s: must be an integer from 1 to 604800",
        "approvals.elicitation: must be true or false",
        "approvals.wait: unknown setting, did you mean wait_ms",
    ]


def test_a_call_does_not_wait_longer_than_its_question_lives() -> None:
    with pytest.raises(ConfigError, match="must not be longer than ttl_s"):
        load(LEAST + "[approvals]\nwait_ms = 2000\nttl_s = 1\n", base=BASE)
