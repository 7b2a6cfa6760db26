"""A small real MCP tool server for tests: journals every effect durably before it answers, and misbehaves on request.

Run as `python -m trionyx_testing.toolserver`, configured by its environment alone:
TOOL_JOURNAL  file that each executed call is appended to (one JSON line, fsynced) before the answer is written;
TOOL_MAILS    file whose JSON text the tool `mails` answers with;
TOOL_MODE     "" | "garbage_at_start" | "exit_at_start" | "hang_at_start" | "drift" (a changed
              descriptor) | "many" (hundreds of tools that nobody classified);
TOOL_ERA      "handshake" (default) | "modern" (no `initialize`).
It is written on the standard library so that it starts fast and shares no code with what it tests.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
TOOLS: dict[str, dict[str, Any]] = {
    "echo": TEXT,
    "note": TEXT,
    "send": {
        "type": "object",
        "properties": {"to": {"type": "array", "items": {"type": "string"}}, "body": {"type": "string"}},
        "required": ["to", "body"],
    },
    "forward_mail": {
        "type": "object",
        "properties": {"id": {"type": "string"}, "to": {"type": "array", "items": {"type": "string"}}},
        "required": ["id", "to"],
    },
    "move": {
        "type": "object",
        "properties": {"source": {"type": "string"}, "destination": {"type": "string"}},
        "required": ["source", "destination"],
    },
    "secret": {"type": "object", "properties": {}},
    "public": {"type": "object", "properties": {}},
    "fail": TEXT,
    "crash": TEXT,
    "hang": TEXT,
    "garbage": TEXT,
    "binary_garbage": TEXT,
    "huge": {"type": "object", "properties": {"bytes": {"type": "integer"}}, "required": ["bytes"]},
    "progress": {"type": "object", "properties": {"steps": {"type": "integer", "default": 3}}},
    "structured": {"type": "object", "properties": {}},
    "odd_block": {"type": "object", "properties": {}},
    "odd_type": {"type": "object", "properties": {}},
    "deaf": {"type": "object", "properties": {}},
    "chatty": {"type": "object", "properties": {}},
    "restless": {"type": "object", "properties": {}},
    "rpc_error": {"type": "object", "properties": {}},
    "environment": {"type": "object", "properties": {}},
    "typed": {
        "type": "object",
        "properties": {
            **{kind: {"type": "string"} for kind in ("date", "email", "host", "id", "path", "url")},
            "code": {"type": "string", "pattern": "^(a+)+$"},
            "value": {},
        },
    },
    "mails": {"type": "object", "properties": {"folder": {"type": "string", "default": "inbox"}}},
    "uncatalogued": {"type": "object", "properties": {}},
}

_write_lock = threading.Lock()


def write(message: dict[str, Any]) -> None:
    with _write_lock:
        sys.stdout.buffer.write(json.dumps(message).encode() + b"\n")
        sys.stdout.buffer.flush()


def write_raw(line: bytes) -> None:
    with _write_lock:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


def journal(entry: dict[str, Any]) -> None:
    path = os.environ.get("TOOL_JOURNAL")
    if path is None:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, json.dumps(entry).encode() + b"\n")
    os.fsync(descriptor)
    os.close(descriptor)


def descriptors() -> list[dict[str, Any]]:
    listed = [
        {
            "name": name,
            "description": f"Test tool {name}.",
            "inputSchema": schema,
            "annotations": {"readOnlyHint": True},
        }
        for name, schema in TOOLS.items()
    ]
    if os.environ.get("TOOL_MODE") == "many":
        listed += [{"name": f"unknown_{number}" + "x" * 100, "inputSchema": TEXT} for number in range(900)]
    if os.environ.get("TOOL_MODE") == "drift":
        listed[0]["description"] = "Now with other words."
    return listed


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}], **more}


def call(request: Any, name: str, arguments: dict[str, Any], meta: dict[str, Any]) -> dict[str, Any] | None:
    """Carry out one call; None when there is no answer to write."""
    journal({"tool": name, "arguments": arguments})
    match name:
        case "echo" | "note":
            return text(arguments["text"])
        case "send" | "forward_mail":
            return text("sent")
        case "move":
            return text("moved")
        case "secret":
            return text("the launch code is 0000")
        case "public":
            return text("anyone may have written this")
        case "fail":
            return text("failed: " + arguments["text"], isError=True)
        case "crash":
            os._exit(3)
        case "hang":
            return None
        case "garbage":
            write_raw(
                b'{"jsonrpc":"2.0","id":%s,"result":{"content":[],"content":[]}}\n'
                % json.dumps(request).encode()
            )
            return None
        case "binary_garbage":
            write_raw(b"\xff\xfe\x00 not json at all\n")
            return None
        case "huge":
            return text("x" * arguments["bytes"])
        case "progress":
            for step in range(arguments.get("steps", 3)):
                if "progressToken" in meta:
                    write(
                        {
                            "jsonrpc": "2.0",
                            "method": "notifications/progress",
                            "params": {
                                "progressToken": meta["progressToken"],
                                "progress": step + 1,
                                "total": 3,
                                "message": "canary in progress text",
                            },
                        }
                    )
            return text("done")
        case "mails":
            with open(os.environ["TOOL_MAILS"], encoding="utf-8") as file:
                return text(file.read())
        case "structured":
            return text("see structured", structuredContent={"rows": [{"n": 1}]}, _meta={"canary": "dropped"})
        case "odd_type":
            return {"content": [{"type": [], "text": "canary in an odd block"}]}
        case "deaf":
            write({"jsonrpc": "2.0", "id": request, "result": text("reads nothing from now on")})
            time.sleep(3600)
        case "chatty":
            for _ in range(100):
                os.write(2, b"x" * 4_000 + b"\n")
            return text("said much")
        case "restless":
            for _ in range(100):
                write_raw(b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n' * 100)
            return text("changed much")
        case "odd_block":
            return {"content": [{"type": "hologram", "data": "?"}]}
        case "environment":
            return text(json.dumps(dict(os.environ)))
        case _:
            return text("?")


def handle(message: dict[str, Any]) -> None:
    method, params = message.get("method"), message.get("params") or {}
    if "id" not in message:
        return
    request = message["id"]
    modern = os.environ.get("TOOL_ERA") == "modern"
    if method == "initialize" and not modern:
        result: dict[str, Any] | None = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}},
            "serverInfo": {"name": "toolserver", "version": "1"},
            "instructions": "canary in instructions",
        }
    elif method == "tools/list":
        result = {"tools": descriptors()}
        if modern:
            result |= {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
    elif method == "tools/call":
        if params["name"] == "rpc_error":
            journal({"tool": "rpc_error", "arguments": {}})
            write(
                {"jsonrpc": "2.0", "id": request, "error": {"code": -32000, "message": "canary in rpc error"}}
            )
            return
        result = call(request, params["name"], params.get("arguments", {}), params.get("_meta") or {})
    else:
        write({"jsonrpc": "2.0", "id": request, "error": {"code": -32601, "message": "method not found"}})
        return
    if result is not None:
        write({"jsonrpc": "2.0", "id": request, "result": result})


def main() -> None:
    match os.environ.get("TOOL_MODE", ""):
        case "exit_at_start":
            sys.exit(4)
        case "garbage_at_start":
            write_raw(b"this is no protocol\n")
        case "hang_at_start":
            time.sleep(3600)
        case _:
            pass
    for line in sys.stdin.buffer:
        handle(json.loads(line))


if __name__ == "__main__":
    main()
