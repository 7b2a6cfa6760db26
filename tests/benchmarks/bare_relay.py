"""The alternative that the latency benchmark compares with: a relay on the same SDK that checks and records nothing.

python tests/benchmarks/bare_relay.py COMMAND [ARGUMENT …]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import anyio
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server.stdio import stdio_server
from mcp.shared.dispatcher import CallOptions
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher


async def relay(command: list[str]) -> None:
    upstream = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with stdio_server() as (front_in, front_out), stdio_client(upstream) as (back_in, back_out):
        front: JSONRPCDispatcher[Any] = JSONRPCDispatcher(front_in, front_out)
        back: JSONRPCDispatcher[Any] = JSONRPCDispatcher(back_in, back_out)

        async def up(context: Any, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
            return await back.send_raw_request(method, params, CallOptions())

        async def down(context: Any, method: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
            return await front.send_raw_request(method, params)

        async def notify_up(context: Any, method: str, params: Mapping[str, Any] | None) -> None:
            if method != "notifications/cancelled":
                await back.notify(method, params)

        async def notify_down(context: Any, method: str, params: Mapping[str, Any] | None) -> None:
            if method not in ("notifications/cancelled", "notifications/progress"):
                await front.notify(method, params)

        async with anyio.create_task_group() as tasks:
            await tasks.start(back.run, down, notify_down)
            await front.run(up, notify_up)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(relay, sys.argv[1:])
