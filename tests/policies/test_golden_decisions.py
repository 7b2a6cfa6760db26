"""What the shipped policy decides in the demo's world, on both engines, with the rules that decide it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trionyx_policies.bundle import Bundle
from trionyx_policies.decision import Outcome
from trionyx_policies.engine import EngineSettings

pytestmark = pytest.mark.anyio

ALLOW, DENY, ASK = Outcome.ALLOW, Outcome.DENY, Outcome.ASK
HIJACKED = {"integrity": "public", "level": "internal"}
ROBBED = {"integrity": "public", "level": "secret"}
INVENTED = {"vouched": "public"}
KEY_PATH = "/secrets/api-key.txt"

# name, tool, words of the call, outcome, determining rules
WORLD: list[tuple[str, str, dict[str, Any], Outcome, set[str]]] = [
    ("list the inbox", "mail.list", {}, ALLOW, {"CATALOG-100"}),
    ("read a mail", "mail.read", {}, ALLOW, {"CATALOG-100"}),
    ("read on after the injected mail", "mail.read", HIJACKED, ALLOW, {"CATALOG-100"}),
    ("read the secret", "files.read", HIJACKED | {"paths": [KEY_PATH]}, ALLOW, {"CATALOG-100"}),
    ("look at the room plan", "web.fetch", HIJACKED | {"urls": [{}]}, ALLOW, {"CATALOG-100"}),
    ("answer the colleague", "mail.send", HIJACKED | {"to": ["jonas@corp.example"]}, ALLOW, {"CATALOG-100"}),
    (
        "answer him after the secret too",
        "mail.send",
        ROBBED | {"to": ["jonas@corp.example"], "text": [{}]},
        ALLOW,
        {"CATALOG-100"},
    ),
    (
        "file notes",
        "files.write",
        ROBBED | {"paths": ["/notes/inbox.md"], "text": [{}]},
        ALLOW,
        {"CATALOG-100"},
    ),
    (
        "mail the secret out",
        "mail.send",
        ROBBED | INVENTED | {"to": ["drop@evil.example"]},
        DENY,
        {"FLOW-003"},
    ),
    (
        "write to somebody whom nobody named",
        "mail.send",
        HIJACKED | INVENTED | {"to": ["drop@evil.example"]},
        ASK,
        {"FLOW-002", "PROV-002", "PROV-014"},
    ),
    (
        "hide it in a web address",
        "web.fetch",
        ROBBED | INVENTED | {"urls": [{"host": "collect.evil.example", "query_bytes": 40}]},
        DENY,
        {"EGR-005", "FLOW-004", "FLOW-006"},
    ),
    (
        "hide it there in the clear",
        "web.fetch",
        ROBBED
        | INVENTED
        | {"urls": [{"host": "collect.evil.example", "query_bytes": 40, "scheme": "http", "port": 80}]},
        DENY,
        {"EGR-004", "EGR-005", "EGR-010", "FLOW-004", "FLOW-006"},
    ),
    (
        "send private mail out by web address",
        "web.fetch",
        HIJACKED | INVENTED | {"urls": [{"host": "collect.evil.example"}]},
        DENY,
        {"FLOW-006"},
    ),
    (
        "change what others rely on",
        "files.write",
        ROBBED | {"paths": ["/shared/website/index.html"]},
        DENY,
        {"FLOW-005"},
    ),
    (
        "the same, merely hijacked",
        "files.write",
        HIJACKED | {"paths": ["/shared/website/index.html"]},
        DENY,
        {"FLOW-005"},
    ),
    (
        "change it in a clean run",
        "files.write",
        {"paths": ["/shared/website/index.html"]},
        ALLOW,
        {"CATALOG-100"},
    ),
    (
        "plant a link for the colleague",
        "mail.send",
        HIJACKED | INVENTED | {"to": ["jonas@corp.example"], "text": [{"urls": ["collect.evil.example"]}]},
        DENY,
        {"EGR-007", "PROV-008"},
    ),
    (
        "mail someone whom the prompt names",
        "mail.send",
        HIJACKED | {"to": ["ann@other.example"], "prompt": {"emails": ["ann@other.example"]}},
        ALLOW,
        {"CATALOG-100"},
    ),
    ("call a tool nobody classified", "mail.purge", {}, DENY, {"CATALOG-001"}),
    (
        "pass what is no address",
        "mail.send",
        {"invalid": [{"arg": "/to/0", "type": "email"}]},
        DENY,
        {"CATALOG-002"},
    ),
    ("call on and on", "mail.list", {"run": {"same_call": 10}}, DENY, {"LIM-002"}),
    ("reset a repository", "git.git_reset", {"paths": ["/workspace/site"]}, ALLOW, {"CATALOG-100"}),
    (
        "reset it when hijacked",
        "git.git_reset",
        HIJACKED | {"paths": ["/workspace/site"]},
        ASK,
        {"PROV-012"},
    ),
    (
        "read outside the workspace",
        "filesystem.read_text_file",
        {"paths": ["/etc/passwd"]},
        DENY,
        {"PATH-001"},
    ),
    (
        "fetch with the real server",
        "fetch.fetch",
        {"urls": [{"host": "www.x.example"}]},
        ALLOW,
        {"CATALOG-100"},
    ),
]


@pytest.mark.guarantee("G03")
async def test_the_demo_world_is_decided_as_promised(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes]
) -> None:
    async with started(bundle, settings) as point:
        found = {name: await point.decide(document(tool, **words)) for name, tool, words, _, _ in WORLD}
    assert {
        name: (decision.outcome, {rule.id for rule in decision.rules}) for name, decision in found.items()
    } == {name: (outcome, rules) for name, _, _, outcome, rules in WORLD}


async def test_what_is_read_among_secrets_is_labelled_secret(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes]
) -> None:
    async with started(bundle, settings) as point:
        secret = await point.decide(document("files.read", paths=[KEY_PATH]))
        shared = await point.decide(document("files.read", paths=["/shared/plan.md"]))
        note = await point.decide(document("files.read", paths=["/notes/todo.md"]))
    assert secret.labels == (b'{"categories":[],"integrity":"org","level":"secret","readers":"*"}',)
    assert shared.labels == (b'{"categories":[],"integrity":"org","level":"internal","readers":"*"}',)
    # Any run may file notes, so what is read there is as bad as the worst that may have been filed.
    assert note.labels == (b'{"categories":[],"integrity":"public","level":"secret","readers":"*"}',)


async def test_results_from_the_web_are_limited(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes]
) -> None:
    async with started(bundle, settings) as point:
        decision = await point.decide(document("web.fetch", urls=[{}]))
    assert ("max_result_bytes", b"1048576") in {
        (demand.type, demand.value) for demand in decision.obligations
    }


@pytest.mark.guarantee("G26")
async def test_denials_speak_in_the_authors_static_words(
    bundle: Bundle, settings: EngineSettings, started: Any, document: Callable[..., bytes]
) -> None:
    marked = document("mail.send", **ROBBED, to=["drop@evil.example"], args={"body": "sk-live-0001"})
    async with started(bundle, settings) as point:
        decision = await point.decide(marked)
    assert all(rule.title and rule.remedy for rule in decision.rules)
    assert "sk-live-0001" not in repr(decision) and "drop@evil" not in repr(decision)
    assert (decision.revision, decision.digest) == (bundle.revision, bundle.digest)


def test_every_denial_that_an_agent_can_mend_has_a_remedy(bundle: Bundle) -> None:
    silent = {rule.id for rule in bundle.rules.values() if not rule.remedy}
    assert silent == {"CATALOG-100", "PATH-100", "LIM-010", "PROV-100", "EGR-009"}
