"""A scripted stand-in for the Messages API, on loopback only.

It replaces the model and nothing else: the agent runtime that talks to it is the real one. Which turn is
played depends on the conversation in the request alone, so retries and side requests cannot desynchronise it.
It checks neither the request's schema nor its limits, and counts no tokens.

Source: Anthropic Messages API, `POST /v1/messages`, streaming events.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Say:
    """A text block of the model's turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A tool-use block of the model's turn; `tool` is the name exactly as the runtime offers it."""

    tool: str
    arguments: Mapping[str, object]


Block = Say | Call


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What the model was given for one of its calls, flattened to text."""

    call: str
    tool: str
    text: str
    error: bool


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a request tells about where the conversation stands.

    Args:
        turn: number of assistant messages so far; 0 on the first request.
        offered: names of the tools the runtime offers, in its order.
        answers: answers to all calls so far, in order.
        body: the request as received.
    """

    turn: int
    offered: tuple[str, ...]
    answers: tuple[ToolAnswer, ...]
    body: Mapping[str, Any]

    def named(self, tool: str) -> str:
        """Return the offered name of `server__tool`, whatever the runtime has put before it.

        An unknown tool keeps its bare name, and the runtime refuses the call, as it would a model's.
        """
        matches = [name for name in self.offered if name.endswith(f"__{tool}")]
        return matches[0] if len(matches) == 1 else tool


Script = Callable[[Conversation], Sequence[Block]]


def play(turns: Sequence[Sequence[Block]]) -> Script:
    """Make a script of fixed turns; past the last one the model says goodbye and calls nothing."""

    def script(conversation: Conversation) -> Sequence[Block]:
        return turns[conversation.turn] if conversation.turn < len(turns) else (Say("Done."),)

    return script


class ScriptedModel:
    """The server: a context manager that listens on a port the system chose and stops without a trace.

    Args:
        script: chooses the blocks of the turn that a conversation has come to.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.key = f"scripted-{secrets.token_hex(16)}"
        self.conversations: list[Conversation] = []
        self.paths: list[str] = []
        self._server = _Server(("127.0.0.1", 0), _Handler, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """Base URL for `ANTHROPIC_BASE_URL`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reply(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Compute the whole answer to one request, as a message object."""
        conversation = _read(body)
        self.conversations.append(conversation)
        # A request without tools is one of the runtime's own side questions, not a turn of the story.
        blocks = self.script(conversation) if conversation.offered else (Say("ok"),)
        content = [_content(block, conversation.turn, index) for index, block in enumerate(blocks)]
        calls = any(isinstance(block, Call) for block in blocks)
        return {
            "id": f"msg_{conversation.turn:06d}",
            "type": "message",
            "role": "assistant",
            "model": body.get("model", ""),
            "content": content,
            "stop_reason": "tool_use" if calls else "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 1,
                "output_tokens": 1,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], model: ScriptedModel
    ) -> None:
        super().__init__(address, handler)
        self.model = model

    def handle_error(self, request: object, client_address: object) -> None:
        """Drop a connection whose client went away: an interrupted runtime does that, and it is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on stderr: the story prints what matters."""

    def do_POST(self) -> None:
        model, path = self.server.model, urlsplit(self.path).path
        received = self.rfile.read(int(self.headers.get("content-length", "0")))
        model.paths.append(path)
        if not self._authorised():
            self._refuse(HTTPStatus.UNAUTHORIZED, "authentication_error")
        elif path == "/v1/messages/count_tokens":
            self._send(HTTPStatus.OK, "application/json", b'{"input_tokens":1}')
        elif path == "/v1/messages":
            body: dict[str, Any] = json.loads(received)
            message = model.reply(body)
            if body.get("stream"):
                self._send(HTTPStatus.OK, "text/event-stream", b"".join(_events(message)))
            else:
                self._send(HTTPStatus.OK, "application/json", json.dumps(message).encode())
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "not_found_error")

    def do_GET(self) -> None:
        self.server.model.paths.append(urlsplit(self.path).path)
        self._refuse(HTTPStatus.NOT_FOUND, "not_found_error")

    do_HEAD = do_GET

    def _authorised(self) -> bool:
        key = self.headers.get("x-api-key") or self.headers.get("authorization", "").removeprefix("Bearer ")
        return secrets.compare_digest(key.encode(), self.server.model.key.encode())

    def _refuse(self, status: HTTPStatus, kind: str) -> None:
        error = {"type": "error", "error": {"type": kind, "message": status.phrase}}
        self._send(status, "application/json", json.dumps(error).encode())

    def _send(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _read(body: Mapping[str, Any]) -> Conversation:
    messages: list[dict[str, Any]] = body["messages"]
    tools: dict[str, str] = {}
    answers: list[ToolAnswer] = []
    for message in messages:
        blocks = message["content"] if isinstance(message["content"], list) else []
        for block in blocks:
            match block.get("type"):
                case "tool_use":
                    tools[block["id"]] = block["name"]
                case "tool_result":
                    call = block["tool_use_id"]
                    answers.append(
                        ToolAnswer(call, tools.get(call, ""), _text(block), bool(block.get("is_error")))
                    )
    return Conversation(
        turn=sum(message["role"] == "assistant" for message in messages),
        offered=tuple(tool["name"] for tool in body.get("tools", ())),
        answers=tuple(answers),
        body=body,
    )


def _text(block: Mapping[str, Any]) -> str:
    content = block.get("content", "")
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part.get("type") == "text")


def _content(block: Block, turn: int, index: int) -> dict[str, Any]:
    match block:
        case Say(text):
            return {"type": "text", "text": text}
        case Call(tool, arguments):
            identity = f"toolu_{turn:06d}{index:02d}"
            return {"type": "tool_use", "id": identity, "name": tool, "input": dict(arguments)}


def _events(message: Mapping[str, Any]) -> Iterator[bytes]:
    def event(kind: str, **members: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **members})}\n\n".encode()

    yield event("message_start", message={**message, "content": [], "stop_reason": None})
    for index, block in enumerate(message["content"]):
        if block["type"] == "text":
            start: dict[str, Any] = {"type": "text", "text": ""}
            delta = {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event("content_block_start", index=index, content_block=start)
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": 1})
    yield event("message_stop")
