"""One world for the policy tests: the shipped bundle, calls made from few words, engines of both kinds."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.engine import EngineSettings
from trionyx_policies.point import PolicyPoint
from trionyx_policies.schema import SHIPPED
from trionyx_testing.parts import need

Json = Any
Started = Callable[..., AbstractAsyncContextManager[PolicyPoint]]

_SHA = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return load_bundle()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the shipped bundle, tests included, to spoil."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "bundle", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture(params=["wasm", "opa"])
def settings(request: pytest.FixtureRequest) -> EngineSettings:
    """Both kinds of engine, with a deadline that a busy machine keeps when nothing is wrong."""
    opa = need("opa") if request.param == "opa" else None
    return EngineSettings(kind=request.param, deadline_ms=2000, opa_command=opa)


@pytest.fixture(scope="session")
def started() -> Started:
    """Start a decision point for the length of a block."""

    @asynccontextmanager
    async def start(bundle: Bundle, settings: EngineSettings) -> AsyncIterator[PolicyPoint]:
        point = await PolicyPoint.start(bundle, settings)
        try:
            yield point
        finally:
            await point.aclose()

    return start


@pytest.fixture(scope="session")
def call() -> Iterator[Callable[..., dict[str, Json]]]:
    """Build an input of the demo's world: `call("mail.read", level="secret", urls=[{"host": …}])`."""
    data: Json = load_bundle().data
    effects = {
        (server, name): tool["effect"]
        for server, entry in data["trionyx"]["catalog"]["servers"].items()
        for name, tool in entry["tools"].items()
    }

    def build(tool: str, /, **words: Json) -> dict[str, Json]:
        server, _, name = tool.partition(".")
        urls = [_PAGE | url for url in words.get("urls", [])]
        paths = [_PATH | {"path": path} for path in words.get("paths", [])]
        texts = [_TEXT | text for text in words.get("text", [])]
        recipients = [
            {"arg": f"/to/{index}", "address": address, "domain": address.rpartition("@")[2]}
            for index, address in enumerate(words.get("to", []))
        ]
        facts = {"paths": paths, "urls": urls, "recipients": recipients, "text": texts}
        return {
            "schema": "trionyx.input/v1",
            "point": "tool.call",
            "run": _RUN | words.get("run", {}),
            "prompt": _PROMPT | words.get("prompt", {}),
            "label": {
                "categories": words.get("categories", []),
                "integrity": words.get("integrity", "user"),
                "level": words.get("level", "public"),
                "readers": words.get("readers", "*"),
            },
            "tool": {
                "id": f"{server}__{name}",
                "server": server,
                "catalog": server,
                "name": name,
                "effect": words.get("effect", effects.get((server, name), "read")),
                "descriptor_sha256": _SHA,
            },
            "args": words.get("args", {}),
            "args_meta": {"bytes": 2, "sha256": words.get("args_sha256", _SHA)},
            "facts": facts
            | {
                "invalid": words.get("invalid", []),
                "origins": [_ORIGIN | origin for origin in words.get("origins", _origins(facts, words))],
            },
            "approvals": [],
            "time": {"ms": 1_763_690_000_000, "hour": 14, "weekday": 5},
        }

    yield build


def _origins(facts: dict[str, list[dict[str, Json]]], words: dict[str, Json]) -> Iterator[dict[str, Json]]:
    """Give the origins of a call whose texts nobody vouches for, and whose targets and links `vouched` does."""
    vouched = {"integrity": words.get("vouched", "user")}
    for kind, facts_of_kind in facts.items():
        for fact in facts_of_kind:
            if kind == "text":
                yield {"arg": fact["arg"], "role": "content", "type": "text", "integrity": "public"}
                links = [{"arg": fact["arg"], "role": "link", "type": "url"} | vouched for _ in fact["urls"]]
                yield from links
            else:
                yield {"arg": fact["arg"]} | vouched


@pytest.fixture(scope="session")
def document(call: Callable[..., dict[str, Json]]) -> Callable[..., bytes]:
    """The same, as the canonical bytes that a decision point takes."""

    def build(tool: str, /, **words: Json) -> bytes:
        return rfc8785.dumps(call(tool, **words))

    return build


_RUN = {
    "id": "01JD0000000000000000000000",
    "agent": "assistant",
    "user": "emma",
    "tenant": "corp",
    "registered": True,
    "calls": 3,
    "denied": 0,
    "in_flight": 0,
    "by_effect": {},
    "same_call": 0,
}
_PROMPT = {"sha256": _SHA, "registered": True, "emails": [], "hosts": [], "paths": [], "implies": []}
_ORIGIN = {
    "arg": "/to/0",
    "role": "target",
    "type": "email",
    "integrity": "user",
    "handle": False,
    "sources": [],
}
_PAGE = {
    "arg": "/url",
    "scheme": "https",
    "host": "intranet.corp.example",
    "port": 443,
    "ip": False,
    "private": False,
    "userinfo": False,
    "query_bytes": 0,
    "path": "/",
}
_PATH = {"arg": "/path", "inside": True, "hidden": False, "control": False}
_TEXT = {"arg": "/body", "bytes": 9, "control": False, "bidi": False, "invisible": False, "urls": []}
