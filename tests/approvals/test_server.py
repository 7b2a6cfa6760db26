"""The local HTTP interface: a real process, asked the way tools ask and the way hostile pages would."""

from __future__ import annotations

import http.client
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trionyx_proxy.approvals.people import operator
from trionyx_proxy.approvals.server import TOKEN_NAME, token_of
from trionyx_proxy.approvals.store import ApprovalStore, now_ms
from trionyx_proxy.errors import StateError
from trionyx_testing.asking import QUESTION, WAIT_S, asking_workspace, fails
from trionyx_testing.workspace import SUPPORT


class Api:
    """One running server and the right way to ask it; tests change one thing each."""

    def __init__(self, root: Path) -> None:
        made = asking_workspace(root)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trionyx_proxy.cli", "approvals", "serve", "--config", str(made.config)],
            stdout=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SUPPORT)},
        )
        assert self.process.stdout is not None
        told = json.loads(self.process.stdout.readline())
        self.host = told["url"].removeprefix("http://")
        self.token_file = Path(told["token_file"])
        self.store = ApprovalStore.open(root / "state")

    def ask(self) -> str:
        entry = self.store.draft(
            QUESTION, subject="s1", binding="b1", rules=["PROV-002"], expires_ms=now_ms() + 600_000
        )
        assert entry is not None
        self.store.put(entry)
        return entry.id

    def request(
        self, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        """Send a request; a header of None is left out, others replace or join the right ones."""
        right: dict[str, str | None] = {
            "Host": self.host,
            "Authorization": f"Bearer {self.token_file.read_text()}",
            "Content-Type": "application/json" if method == "POST" else None,
        }
        right |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(self.host, timeout=WAIT_S)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in right.items():
            if value is not None:
                connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(body or b"")
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        found = json.loads(data) if answer.getheader("Content-Type") == "application/json" else None
        return answer.status, found, {name.lower(): value for name, value in answer.getheaders()}

    def close(self) -> None:
        self.store.close()
        self.process.terminate()
        self.process.communicate(timeout=WAIT_S)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    found = Api(tmp_path_factory.mktemp("api"))
    yield found
    found.close()


def test_a_question_is_listed_shown_and_approved_once(api: Api) -> None:
    id_ = api.ask()
    status, listed, headers = api.request("GET", "/v1/approvals")
    assert status == 200 and id_ in [entry["approval"] for entry in listed["approvals"]]
    assert headers["cache-control"] == "no-store" and "access-control-allow-origin" not in headers
    status, shown, _ = api.request("GET", f"/v1/approvals/{id_}")
    assert status == 200 and "X@evil.example" in shown["text"]
    status, answer, _ = api.request("POST", f"/v1/approvals/{id_}/approve", b'{"endorse":"run"}')
    assert (status, answer["state"], answer["by"]) == (200, "approved", operator())
    (given,) = answer["endorsements"]
    assert api.request("POST", f"/v1/approvals/{id_}/approve", b"{}")[0] == 409
    assert api.request("POST", f"/v1/approvals/{id_}/reject", b"{}")[0] == 409
    assert api.request("POST", f"/v1/endorsements/{given['endorsement']}/revoke", b"{}")[0] == 200
    assert api.request("POST", f"/v1/endorsements/{given['endorsement']}/revoke", b"{}")[0] == 409
    assert api.request("GET", "/v1/endorsements")[1] == {"endorsements": []}
    assert len(api.request("GET", "/v1/endorsements?state=all")[1]["endorsements"]) == 1


def test_a_question_is_rejected(api: Api) -> None:
    id_ = api.ask()
    status, answer, _ = api.request("POST", f"/v1/approvals/{id_}/reject", b'{"reason":"no"}')
    assert (status, answer["state"], answer["reason"]) == (200, "rejected", "no")
    found = api.request("GET", "/v1/approvals?state=all")[1]["approvals"]
    assert [entry["state"] for entry in found if entry["approval"] == id_] == ["rejected"]


def test_values_are_chosen_by_their_pointers(api: Api) -> None:
    id_ = api.ask()
    shown = api.request("GET", f"/v1/approvals/{id_}")[1]
    pointers = [one["pointer"] for one in shown["values"] if one["value"] == "X@evil.example"]
    body = json.dumps({"endorse": "once", "only": pointers}).encode()
    status, answer, _ = api.request("POST", f"/v1/approvals/{id_}/approve", body)
    assert (status, [one["value"] for one in answer["endorsements"]]) == (200, ["X@evil.example"])


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Basic d3Jvbmc="}, 401),
        ({"Host": None}, 400),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"Host": "127.0.0.1"}, 403),
        ({"Host": "127.0.0.1:1"}, 403),
        ({"Host": "[::1]:80"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/json; charset=utf-7"}, 415),
    ],
)
def test_a_request_that_is_not_quite_right_changes_nothing(
    api: Api, headers: dict[str, str | None], status: int
) -> None:
    id_ = api.ask()
    if "Content_Type" in headers:
        headers = {"Content-Type": headers["Content_Type"]}
    found, answer, _ = api.request("POST", f"/v1/approvals/{id_}/approve", b"{}", **headers)
    assert found == status
    assert answer is None or id_ not in json.dumps(answer)
    entry = api.store.get(id_)
    assert entry is not None and entry.standing == "pending"


def test_the_token_and_its_beginnings_only_pass_whole(api: Api) -> None:
    token = api.token_file.read_text()
    for wrong in (token[:-1], token + "x", token.lower() + "", f" {token}x"):
        if wrong != token:
            assert api.request("GET", "/v1/approvals", Authorization=f"Bearer {wrong}")[0] == 401


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("approve", b"", 400),
        ("approve", b"[]", 400),
        ("approve", b'{"endorse":"forever"}', 400),
        ("approve", b'{"endorse":"run","endorse":"always"}', 400),
        ("approve", b'{"any_tool":1}', 400),
        ("approve", b'{"endorse":"run","only":"/to/0"}', 400),
        ("approve", b'{"endorse":"run","only":null}', 400),
        ("approve", b'{"endorse":"run","only":[0]}', 400),
        ("approve", b'{"endorse":"run","only":[]}', 409),
        ("approve", b'{"endorse":"run","only":["/to/1"]}', 409),
        ("approve", b'{"only":["/to/0"]}', 409),
        ("approve", b'{"by":"root"}', 400),
        ("approve", b'{"endorse":"' + b"x" * 5_000 + b'"}', 413),
        ("reject", b'{"reason":7}', 400),
        ("explode", b"{}", 404),
    ],
)
def test_a_body_without_a_single_meaning_is_refused(api: Api, path: str, body: bytes, status: int) -> None:
    id_ = api.ask()
    assert api.request("POST", f"/v1/approvals/{id_}/{path}", body)[0] == status
    entry = api.store.get(id_)
    assert entry is not None and entry.standing == "pending"


def test_no_page_is_told_that_it_may_ask(api: Api) -> None:
    status, _, headers = api.request(
        "OPTIONS", "/v1/approvals", Origin="https://evil.example", Access_Control_Request_Method="POST"
    )
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]
    assert api.request("GET", "/v1/approvals/01JNOBODY")[0] == 404
    assert api.request("DELETE", "/v1/approvals")[0] == 405


def test_the_token_is_its_owners_only(api: Api, tmp_path: Path) -> None:
    assert stat.S_IMODE(api.token_file.stat().st_mode) == 0o600
    token = token_of(tmp_path)
    assert token_of(tmp_path) == token and len(token) >= 43
    (tmp_path / TOKEN_NAME).chmod(0o644)
    with pytest.raises(StateError, match="chmod 600"):
        token_of(tmp_path)


def test_a_port_in_use_is_said_so(api: Api, tmp_path: Path) -> None:
    made = asking_workspace(tmp_path)
    port = api.host.partition(":")[2]
    assert fails(made, "serve", "--port", port) == 4
