"""The approvals over HTTP, for a person's own tools on the same machine: 127.0.0.1, a bearer token, JSON.

A browser cannot be made to use it for somebody else: names that resolve to this machine are refused by their Host,
other pages by their Origin and by the content type, and nothing is ever allowed to another origin.
"""

from __future__ import annotations

import hmac
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from trionyx_proxy.approvals import listing, rows
from trionyx_proxy.approvals.sealing import read_secret, write_secret
from trionyx_proxy.approvals.store import ApprovalStore
from trionyx_proxy.arguments import ARGUMENTS, parse
from trionyx_proxy.errors import ArgumentError, StateError

TOKEN_NAME = "approvals.token"  # noqa: S105 - the name of a file
HOST = "127.0.0.1"
MAX_BODY_BYTES = 4_096


def token_of(directory: Path) -> str:
    """Return the bearer token of a state directory; it is made when there is none.

    Raises:
        StateError: it cannot be read, or other users can read it.
    """
    path = directory / TOKEN_NAME
    try:
        write_secret(path, secrets.token_urlsafe(32).encode())
    except FileExistsError:
        pass
    except OSError as error:
        raise StateError(f"the token {path} cannot be written") from error
    token = read_secret(path).decode("ascii", "replace").strip()
    if len(token) < 32:
        raise StateError(f"the token in {path} is too short; delete the file to have a new one made")
    return token


def serve(store: ApprovalStore, directory: Path, *, by: str, port: int) -> int:
    """Serve until the process is told to stop; prints one line of JSON with the address and the token's file.

    Args:
        store: opened.
        directory: the state directory.
        by: in whose name the answers count: the token is this person's.
        port: on 127.0.0.1; 0 takes any free one.

    Raises:
        StateError: the address cannot be used.
    """
    token = token_of(directory)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise StateError(f"port {port} of {HOST} cannot be used") from error
    found: int = listener.getsockname()[1]
    app = application(store, token=token, by=by, port=found)
    settings = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, date_header=False, lifespan="off"
    )
    print(
        listing.line({"token_file": str(directory / TOKEN_NAME), "url": f"http://{HOST}:{found}"}), flush=True
    )
    try:
        uvicorn.Server(settings).run(sockets=[listener])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


def application(store: ApprovalStore, *, token: str, by: str, port: int) -> ASGIApp:
    """Return the application behind its guard.

    Args:
        store: opened.
        token: that every request must bear.
        by: in whose name the answers count.
        port: that it is reached at.
    """
    desk = _Desk(store, by)
    app = Starlette(
        routes=[
            Route("/v1/approvals", desk.list, methods=["GET"]),
            Route("/v1/approvals/{id}", desk.show, methods=["GET"]),
            Route("/v1/approvals/{id}/approve", desk.approve, methods=["POST"]),
            Route("/v1/approvals/{id}/reject", desk.reject, methods=["POST"]),
            Route("/v1/endorsements", desk.endorsements, methods=["GET"]),
            Route("/v1/endorsements/{id}/revoke", desk.revoke, methods=["POST"]),
        ]
    )
    return _Guard(app, token, port)


class _Guard:
    """Lets through requests of the person who holds the token, from tools and not from other people's pages."""

    def __init__(self, app: ASGIApp, token: str, port: int) -> None:
        self._app = app
        self._token = token.encode()
        self._hosts = {f"{HOST}:{port}".encode(), f"localhost:{port}".encode()}
        self._origins = {b"http://" + host for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return _answer({"error": "wrong host"}, 403)
        if not set(headers.get(b"origin", [])) <= self._origins:
            return _answer({"error": "wrong origin"}, 403)
        borne = headers.get(b"authorization", [])
        wanted = b"Bearer " + self._token
        # Compared in constant time whatever is borne, so that time tells nothing about the token.
        if not hmac.compare_digest(borne[0] if len(borne) == 1 else b"", wanted):
            return _answer({"error": "wrong token"}, 401)
        if scope["method"] == "POST" and headers.get(b"content-type", []) != [b"application/json"]:
            return _answer({"error": "content-type must be application/json"}, 415)
        return None


class _Desk:
    """The endpoints. Writes rows and nothing else, like the command line."""

    def __init__(self, store: ApprovalStore, by: str) -> None:
        self._store = store
        self._by = by

    async def list(self, request: Request) -> Response:
        """List questions: the pending ones, or with `state=all` every one."""
        wants_all = request.query_params.get("state") == "all"
        return _answer(
            {
                "approvals": [
                    listing.summary(entry)
                    for entry in self._store.all()
                    if wants_all or entry.standing is rows.Standing.PENDING
                ]
            }
        )

    async def show(self, request: Request) -> Response:
        """Show a question in full."""
        entry = self._store.get(request.path_params["id"])
        return _answer({"error": "not found"}, 404) if entry is None else _answer(listing.detail(entry))

    async def approve(self, request: Request) -> Response:
        """Say yes; body `{}` or `{"endorse": "once" | "run" | "always", "any_tool": false, "only": ["/to/0"]}`."""
        members = await _body(request, {"endorse", "any_tool", "only"})
        if isinstance(members, Response):
            return members
        scope, any_tool = members.get("endorse"), members.get("any_tool", False)
        if scope not in (None, *(scope.value for scope in rows.Scope)) or not isinstance(any_tool, bool):
            return _answer({"error": "endorse is once, run or always; any_tool is true or false"}, 400)
        only = members.get("only")
        if "only" in members and not (isinstance(only, list) and all(isinstance(one, str) for one in only)):
            return _answer({"error": "only is a list of pointers"}, 400)
        try:
            entry, given = self._store.approve(
                request.path_params["id"],
                self._by,
                scope=None if scope is None else rows.Scope(scope),
                any_tool=any_tool,
                only=only,
            )
        except StateError as error:
            return _answer({"error": str(error)}, 409)
        found = [listing.described(one) for one in given]
        return _answer(listing.summary(entry) | {"endorsements": found})

    async def reject(self, request: Request) -> Response:
        """Say no; body `{}` or `{"reason": "…"}`."""
        members = await _body(request, {"reason"})
        if isinstance(members, Response):
            return members
        reason = members.get("reason", "")
        if not isinstance(reason, str):
            return _answer({"error": "reason is a string"}, 400)
        try:
            return _answer(listing.summary(self._store.reject(request.path_params["id"], self._by, reason)))
        except StateError as error:
            return _answer({"error": str(error)}, 409)

    async def endorsements(self, request: Request) -> Response:
        """List what people vouched for; with `state=all` also what was revoked."""
        wants_all = request.query_params.get("state") == "all"
        return _answer(
            {
                "endorsements": [
                    listing.described(one)
                    for one in self._store.endorsements()
                    if wants_all or not one.revoked_ms
                ]
            }
        )

    async def revoke(self, request: Request) -> Response:
        """Take an endorsement back; body `{}`."""
        refusal = await _body(request, set())
        if isinstance(refusal, Response):
            return refusal
        try:
            self._store.revoke(request.path_params["id"], self._by)
        except StateError as error:
            return _answer({"error": str(error)}, 409)
        return _answer({"endorsement": request.path_params["id"], "revoked": True})


async def _body(request: Request, known: set[str]) -> dict[str, Any] | Response:
    """Read a small JSON object with known members only."""
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY_BYTES:
            return _answer({"error": "the body is too long"}, 413)
    try:
        value = parse(data, ARGUMENTS)
    except ArgumentError:
        return _answer({"error": "the body is not json"}, 400)
    if not isinstance(value, dict) or not value.keys() <= known:
        return _answer({"error": "the body is not an object of known members"}, 400)
    return value


def _answer(value: object, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return Response(orjson.dumps(value), status, headers, "application/json")
