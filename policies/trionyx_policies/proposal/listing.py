"""Lists of tools: a saved one, or what a live server on stdio says of itself.

The one module of this package that speaks MCP; it starts the server with a minimal environment, lists and ends it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import anyio

from trionyx_policies.document import DocumentError, Json, parse
from trionyx_policies.errors import BundleError, EngineError

MAX_BYTES: Final = 16 << 20
MAX_PAGES: Final = 64
LIMIT_S: Final = 60.0


def saved_list(path: Path) -> list[Json]:
    """Read a saved list: the tools, the result of `tools/list`, or the whole answer.

    Raises:
        BundleError: the file holds no list of tools.
        OSError: it cannot be read.
    """
    if path.stat().st_size > MAX_BYTES:
        raise BundleError((f"{path}: larger than {MAX_BYTES} bytes",))
    try:
        document = parse(path.read_bytes())
    except DocumentError as error:
        raise BundleError((f"{path}: {error}",)) from None
    for member in ("result", "tools"):
        if isinstance(document, dict) and member in document:
            document = document[member]
    if not isinstance(document, list):
        raise BundleError((f"{path}: holds no list of tools",))
    return document


def live_list(command: Sequence[str]) -> tuple[str, list[Json]]:
    """Start a server, ask for its tools, and end it; returns its name for itself, and the tools.

    Raises:
        EngineError: it cannot be started, does not answer in time, or answers something else.
    """
    return anyio.run(_ask, list(command))


async def _ask(command: list[str]) -> tuple[str, list[Json]]:
    # Loading the SDK takes a second, which no other command should wait for.
    from mcp import ClientSession
    from mcp.client.stdio import StdioServerParameters, stdio_client

    server = StdioServerParameters(command=command[0], args=command[1:])
    try:
        with anyio.fail_after(LIMIT_S), open(os.devnull, "w") as nowhere:
            async with stdio_client(server, errlog=nowhere) as streams, ClientSession(*streams) as session:
                name = (await session.initialize()).server_info.name
                return name, await _pages(session)
    except Exception as error:
        raise EngineError(
            f"{command[0]}: lists no tools ({_reason(error)}); run it by itself to see what it says"
        ) from None


async def _pages(session: object) -> list[Json]:
    from mcp import ClientSession
    from mcp.types import PaginatedRequestParams

    client = cast(ClientSession, session)
    tools: list[Json] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await client.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
        tools += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
        cursor = page.next_cursor
        if not cursor:
            return tools
    raise EngineError("more pages of tools than anybody reads")


def _reason(error: BaseException) -> str:
    """Return what went wrong, in one line of printable characters."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return ascii(text[0])[1:-1] if text else type(error).__name__
