"""A suite's environment as a stdio MCP server, and a host that starts many of them with AgentDojo imported once.

    python server.py serve --suite banking --directory DIR     one server, on standard input and output
    python server.py host --socket FILE                        answers the runner, forks servers for `connect`
    python server.py connect --socket FILE --suite banking --directory DIR

`DIR/environment` is the environment at the start. Each call that reaches a tool is appended to
`DIR/journal.jsonl`, and the environment that it leaves is in `DIR/final`, before it is answered. `connect`
hands its standard input and output to a process forked by the host and waits for it: AgentDojo takes seconds to
import, a run does not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any, BinaryIO

MAX_REQUEST = 1 << 24


def serve(suite: str, directory: Path, source: BinaryIO, sink: BinaryIO) -> None:
    """Answer JSON-RPC lines until the input ends."""
    import dojo

    environment = dojo.thawed((directory / "environment").read_text())

    def call(tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            document = dojo.execute(suite, environment, tool, arguments)
        except Exception as error:
            document, failure = None, f"{type(error).__name__}: {error}"
        else:
            failure = ""
        entry = {"tool": tool, "arguments": arguments, "failure": failure, "document": document}
        with (directory / "journal.jsonl").open("a") as journal:
            journal.write(json.dumps(entry) + "\n")
        (directory / "final").write_text(dojo.frozen(environment))
        if failure:
            return {"content": [{"type": "text", "text": failure}], "isError": True}
        return {
            "content": [{"type": "text", "text": json.dumps(document)}],
            "structuredContent": {"result": document},
        }

    (directory / "final").write_text(dojo.frozen(environment))
    for line in source:
        message = json.loads(line)
        if "id" not in message:
            continue
        match message["method"]:
            case "initialize":
                result: dict[str, Any] | None = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": f"agentdojo-{suite}", "version": dojo.VERSION},
                }
            case "tools/list":
                result = {"tools": dojo.tools(suite)}
            case "tools/call":
                result = call(message["params"]["name"], message["params"].get("arguments") or {})
            case "ping":
                result = {}
            case _:
                result = None
        answer = (
            {"error": {"code": -32601, "message": "method not found"}}
            if result is None
            else {"result": result}
        )
        sink.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], **answer}).encode() + b"\n")
        sink.flush()


def host(path: str) -> None:
    """Answer requests on a socket, one after another; `serve` requests become processes of their own."""
    import dojo

    questions = {"describe": dojo.describe, "task": dojo.task, "score": dojo.score}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the servers
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        with connection:
            data, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST, 2)
            while not data.endswith(b"\n"):
                data += connection.recv(MAX_REQUEST)
            request = json.loads(data)
            if request["do"] == "serve":
                # INVARIANT: the child keeps its copy of the connection open; its end is how `connect` learns of it.
                if os.fork() == 0:
                    listener.close()
                    with os.fdopen(descriptors[0], "rb") as source, os.fdopen(descriptors[1], "wb") as sink:
                        serve(request["suite"], Path(request["directory"]), source, sink)
                    os._exit(0)
                for descriptor in descriptors:
                    os.close(descriptor)
            else:
                answer = questions[request["do"]](**request["with"])
                connection.sendall(json.dumps(answer).encode() + b"\n")


def connect(path: str, suite: str, directory: str) -> None:
    """Let the host's child speak on this process's standard input and output; ends when it ends."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        request = json.dumps({"do": "serve", "suite": suite, "directory": directory}) + "\n"
        socket.send_fds(connection, [request.encode()], [0, 1])
        os.close(0)
        os.close(1)
        connection.recv(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="An AgentDojo environment as an MCP server.")
    parser.add_argument("mode", choices=("serve", "host", "connect"))
    parser.add_argument("--suite")
    parser.add_argument("--directory")
    parser.add_argument("--socket")
    options = parser.parse_args()
    match options.mode:
        case "serve":
            serve(options.suite, Path(options.directory), sys.stdin.buffer, sys.stdout.buffer)
        case "host":
            host(options.socket)
        case "connect":
            connect(options.socket, options.suite, options.directory)


if __name__ == "__main__":
    main()
