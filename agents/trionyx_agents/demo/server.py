"""The frame of the demo's tool servers: plain schemas, one state directory, a journal of what happened.

The servers enforce nothing beyond their own schema: they do what they are asked, like most tools.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import jsonschema_rs
import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from trionyx_agents.demo.journal import Journal

Arguments = Mapping[str, Any]


class ToolError(Exception):
    """The tool cannot do what it was asked; the text is for the agent."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool of a server.

    Args:
        properties: JSON Schema of each argument; all are required and no others are taken.
        do: performs the effect and returns the text for the agent; raises ToolError.
    """

    name: str
    description: str
    properties: Mapping[str, Mapping[str, Any]]
    do: Callable[[Arguments], str] = field(compare=False)

    @property
    def schema(self) -> dict[str, Any]:
        """The input schema as offered."""
        return {
            "type": "object",
            "properties": dict(self.properties),
            "required": list(self.properties),
            "additionalProperties": False,
        }


def directory(variable: str) -> Path:
    """Return the state directory that an environment variable names, or leave with code 2."""
    path = Path(os.environ.get(variable, ""))
    if not os.environ.get(variable) or not path.is_dir():
        sys.exit(f"{variable} must name the server's state directory")
    return path


def serve(name: str, tools: Sequence[Tool], journal: Journal) -> None:
    """Serve the tools on stdio until the other side closes it."""
    known = {tool.name: (tool, jsonschema_rs.validator_for(tool.schema)) for tool in tools}

    async def list_tools(
        context: ServerRequestContext[Any], request: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        offered = [
            types.Tool(name=tool.name, description=tool.description, input_schema=tool.schema)
            for tool in tools
        ]
        return types.ListToolsResult(tools=offered)

    async def call_tool(
        context: ServerRequestContext[Any], request: types.CallToolRequestParams
    ) -> types.CallToolResult:
        arguments = request.arguments or {}
        if request.name not in known:
            return _answer(f"no tool {request.name}", error=True)
        tool, validator = known[request.name]
        if not validator.is_valid(arguments):
            return _answer("the arguments do not fit the tool's schema", error=True)
        try:
            text = tool.do(arguments)
        except ToolError as problem:
            return _answer(str(problem), error=True)
        journal.add(tool.name, arguments)
        return _answer(text)

    async def run() -> None:
        server: Server[Any] = Server(name, version="1", on_list_tools=list_tools, on_call_tool=call_tool)
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())

    anyio.run(run)


def _answer(text: str, *, error: bool = False) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=error)
