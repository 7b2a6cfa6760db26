"""A stand-in for `trionyx-proxy`: mints anything, serves three harmless tools, journals what it is asked.

Run as `stand_in_proxy.py mint|serve --config FILE …`. The configuration names a directory; in it are written
`mint.json` (arguments and prompt), `calls.jsonl` (what the server saw) and `environment.json` (what it was given).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

RUN = "01JSTANDIN0000000000000000"


def main() -> int:
    command, config = sys.argv[1], Path(sys.argv[sys.argv.index("--config") + 1])
    if not config.is_file():
        print(f"trionyx-proxy: {config}: no such file", file=sys.stderr)
        return 2
    directory = Path(json.loads(config.read_text())["directory"])
    if command == "mint":
        told = {"arguments": sys.argv[2:], "prompt": sys.stdin.read()}
        (directory / "mint.json").write_text(json.dumps(told))
        if (directory / "stuck").exists():
            wait_for_a_signal()
        print(json.dumps({"run": RUN, "token": "t", "env": {"TRIONYX_RUN_TOKEN": "t"}, "expires": 0}))
        return 0
    if (directory / "broken").exists():
        print("upstreams.mail.command: no such program", file=sys.stderr)
        return 2
    if (directory / "unready").exists():
        wait_for_a_signal()
    serve(directory)
    return 0


def wait_for_a_signal() -> None:
    signal.pause()


def serve(directory: Path) -> None:
    import anyio
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server

    (directory / "environment.json").write_text(json.dumps(dict(os.environ)))

    def journal(**entry: object) -> None:
        with (directory / "calls.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")

    schema = {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": False}

    async def list_tools(context: Any, request: Any) -> types.ListToolsResult:
        names = ("desk__echo", "desk__refuse", "desk__wait")
        return types.ListToolsResult(
            tools=[types.Tool(name=name, description=name, input_schema=schema) for name in names]
        )

    async def call_tool(context: Any, request: types.CallToolRequestParams) -> types.CallToolResult:
        journal(tool=request.name, arguments=request.arguments)
        if request.name == "desk__wait":
            try:
                await anyio.sleep_forever()
            finally:
                journal(withdrawn=request.name)
        text = str((request.arguments or {}).get("text"))
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text)], is_error=request.name == "desk__refuse"
        )

    async def run() -> None:
        server: Server[Any] = Server(
            "stand-in", version="0", on_list_tools=list_tools, on_call_tool=call_tool
        )
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    anyio.run(run)


if __name__ == "__main__":
    sys.exit(main())
