"""A tool server that puts one text into every place of the protocol where a server may say something.

Run as `python -m trionyx_testing.hostile_server FILE`: FILE holds `{"text": …, "results": {tool: result}}`. Before it
answers a call it logs, reports progress, says that its lists changed and asks the client for input, each time in words
of that text.
Tools that FILE has no result for answer with an error whose message and data are the text.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def said(text: str, token: Any) -> list[dict[str, Any]]:
    form = {"message": text, "requestedSchema": {"type": "object", "properties": {text: {"type": "string"}}}}
    sampled = {"messages": [{"role": "user", "content": {"type": "text", "text": text}}], "maxTokens": 9}
    return [
        {"method": "notifications/message", "params": {"level": "error", "data": text, "logger": text}},
        {
            "method": "notifications/progress",
            "params": {"progressToken": token, "progress": 1, "message": text},
        },
        {"method": "notifications/tools/list_changed", "params": {"_meta": {"why": text}}},
        {"method": "notifications/resources/updated", "params": {"uri": f"x:{text}"}},
        {"method": "notifications/prompts/list_changed"},
        {"method": f"notifications/{text}", "params": {"text": text}},
        {"method": "elicitation/create", "id": f"e-{text}", "params": form},
        {"method": "sampling/createMessage", "id": f"s-{text}", "params": sampled},
        {"method": "roots/list", "id": f"r-{text}"},
    ]


def main() -> None:
    script = json.loads(open(sys.argv[1], encoding="utf-8").read())
    text, results = script["text"], script["results"]
    for line in sys.stdin:
        message = json.loads(line)
        method, identity, params = message.get("method"), message.get("id"), message.get("params") or {}
        if identity is None or method is None:
            continue
        match method:
            case "initialize":
                capabilities = {"tools": {"listChanged": True}, "logging": {}, "experimental": {text: {}}}
                info = {"name": text, "title": text, "version": text}
                answer = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}
                write({"id": identity, "result": answer | {"instructions": text}})
            case "tools/list":
                tools = [{"name": name, "inputSchema": {"type": "object"}} for name in [*results, "fails"]]
                write({"id": identity, "result": {"tools": tools, "_meta": {"text": text}}})
            case "tools/call":
                token = (params.get("_meta") or {}).get("progressToken", 0)
                for other in said(text, token):
                    write(other)
                if params["name"] in results:
                    write({"id": identity, "result": results[params["name"]]})
                else:
                    write({"id": identity, "error": {"code": -32_000, "message": text, "data": {text: text}}})
            case _:
                write({"id": identity, "error": {"code": -32_601, "message": text}})


if __name__ == "__main__":
    main()
