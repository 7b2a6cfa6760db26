"""The reference tool servers for files, git and the web behind the real proxy, under the shipped rules.

The bundle is the shipped one; its data differs only where it must: places of this machine, the loopback web server,
two tools left out of the catalog as if their servers had grown them since it was written, and untrusted text that is
shown, so that answers can be compared. The run's prompt names what the honest work is about.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.verdict import Severity
from trionyx_audit.verify import verify
from trionyx_testing.asking import minted
from trionyx_testing.client import Client, Served, refused, text_of
from trionyx_testing.parts import need
from trionyx_testing.workspace import SHIPPED, Workspace

SERVERS = ("filesystem", "git", "fetch")
GROWN = (("filesystem", "move_file"), ("git", "git_reset"))
PAGE = (
    "<html><head><title>Pond</title></head><body><article><h1>Pond</h1>"
    "<p>Terrapins bask in the morning.</p></article></body></html>"
)


@dataclass(frozen=True)
class Ground:
    """What the servers work on.

    Args:
        workspace: the proxy's directory.
        root: the tree that the policy lets the servers reach.
        outside: a directory beside it.
        site: address of the loopback web server.
        requested: every path that was requested from it.
        commands: how each server is started, and its environment.
    """

    workspace: Workspace
    root: Path
    outside: Path
    site: str
    requested: list[str]
    commands: dict[str, tuple[list[str], dict[str, str]]]

    @property
    def repository(self) -> Path:
        return self.root / "repository"

    def git(self, *words: str) -> str:
        return git(self.repository, *words)


def git(repository: Path, *words: str) -> str:
    identity = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"} | {
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "Emma"), ("EMAIL", "emma@corp.example"))
    }
    command = [str(need("git")), "-C", str(repository), *words]
    return subprocess.run(command, env=identity, capture_output=True, text=True, check=True).stdout


@contextmanager
def site() -> Iterator[tuple[str, list[str]]]:
    requested: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requested.append(self.path)
            kind, text = {
                "/pond": ("text/html", PAGE),
                "/notes.txt": ("text/plain", "terrapin " * 200),
            }.get(self.path, ("text/plain", ""))
            self.send_response(200 if text else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", requested
        server.shutdown()
        thread.join()


def plant(root: Path) -> None:
    """Lay out files, and a repository with a commit, a branch, a staged and an unstaged change."""
    (root / "docs/deep").mkdir(parents=True)
    (root / "docs/lines.txt").write_text("one\ntwo\nthree\nfour\n")
    (root / "docs/deep/terrapin.md").write_text("# Terrapin\n")
    (root / "docs/untouched.txt").write_text("nobody reads this, so its times stay\n")
    (root / "docs/dot.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (root / "shared").mkdir()
    repository = root / "repository"
    repository.mkdir()
    git(repository, "init", "--quiet", "--initial-branch=main")
    (repository / "pond.txt").write_text("water\n")
    (repository / "reed.txt").write_text("green\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message=The pond")
    git(repository, "branch", "drained")
    (repository / "pond.txt").write_text("water\nand more water\n")
    (repository / "reed.txt").write_text("brown\n")
    git(repository, "add", "reed.txt")


def adapt(bundle: Path, root: Path) -> None:
    """Put the shipped bundle in place, and say in its data where this machine's things are."""
    shutil.copytree(SHIPPED, bundle, dirs_exist_ok=True)

    def edit(name: str, change: Callable[[dict[str, Any]], None]) -> None:
        file = bundle / "data" / f"{name}.json"
        document = json.loads(file.read_text())
        change(document["trionyx"][name])
        file.write_text(json.dumps(document))

    shared = {
        "prefix": str(root / "shared"),
        "label": {"categories": [], "integrity": "org", "level": "internal", "readers": "*"},
        "write": {"categories": "*", "integrity": "org", "level": "internal", "readers": []},
    }

    def places(paths: dict[str, Any]) -> None:
        paths["filesystem"] = {"roots": [str(root)], "zones": [shared]}
        paths["git"] = {"roots": [str(root)], "zones": []}

    def tools(catalog: dict[str, Any]) -> None:
        for server, tool in GROWN:
            del catalog["servers"][server]["tools"][tool]

    edit("paths", places)
    edit("catalog", tools)
    edit("flow", lambda flow: flow.update(hide_text=False))
    edit("egress", lambda egress: egress.update(allow_loopback=True, hosts=["127.0.0.1"]))


def upstream(alias: str, command: list[str], env: dict[str, str]) -> str:
    pairs = ", ".join(f"{name} = {json.dumps(value)}" for name, value in env.items())
    return f"[upstreams.{alias}]\ncommand = {json.dumps(command)}\nenv = {{ {pairs} }}\n"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    tree = tmp_path_factory.mktemp("tree").resolve()
    root, outside = tree / "root", tree / "outside"
    outside.mkdir()
    plant(root)
    git(outside, "init", "--quiet")
    home = {"HOME": str(tree), "PATH": str(need("git").parent), "GIT_CONFIG_SYSTEM": "/dev/null"}
    files = [str(need("node")), str(need("mcp-server-filesystem").resolve()), str(root)]
    fetch = [sys.executable, "-m", "mcp_server_fetch", "--allow-private-ips"]
    commands = {
        "filesystem": (files, {}),
        "git": ([sys.executable, "-m", "mcp_server_git"], home),
        "fetch": (fetch, {"PATH": "/nonexistent"}),  # where it finds Node.js, it installs packages for it
    }
    tables = [upstream(alias, *how) for alias, how in commands.items()]
    # Under another server's section none of its tools is classified.
    tables.append(upstream("unclassified", *commands["filesystem"]) + 'catalog = "mail"\n')
    workspace = Workspace.create(tmp_path_factory.mktemp("real"), upstreams="".join(tables))
    adapt(workspace.root / "bundle", root)
    with site() as (address, requested):
        yield Ground(workspace, root, outside, address, requested, commands)


@pytest.fixture(scope="module")
def direct(ground: Ground) -> Iterator[dict[str, Client]]:
    """The same servers without anything in between."""
    with ExitStack() as stack:
        clients: dict[str, Client] = {}
        for alias, (command, env) in ground.commands.items():
            process = stack.enter_context(
                subprocess.Popen(
                    command,
                    env=env,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,
                )
            )
            stack.callback(process.kill)
            assert process.stdin is not None and process.stdout is not None
            clients[alias] = Client(process.stdin.fileno(), process.stdout.fileno())
        for client in clients.values():
            client.initialize()
        yield clients


@pytest.fixture(scope="module")
def served(ground: Ground, direct: dict[str, Client]) -> Iterator[Served]:
    """One proxy whose run has read a file, so that its label is the same for every test."""
    asked = f"Keep a note in {ground.root}/docs/note.txt, and open the branch spring in {ground.repository}."
    with Served(ground.workspace, minted(ground.workspace, asked)) as served:
        text_of(served.call("filesystem__read_text_file", path=str(ground.root / "docs/lines.txt")))
        yield served


def spelled(arguments: dict[str, Any], ground: Ground) -> dict[str, Any]:
    """Put the places of this machine into arguments."""
    text = json.dumps(arguments)
    for name, place in (("ROOT", ground.root), ("OUTSIDE", ground.outside), ("SITE", ground.site)):
        text = text.replace(name, str(place))
    value: dict[str, Any] = json.loads(text)
    return value


READS: list[tuple[str, dict[str, Any]]] = [
    ("filesystem__read_file", {"path": "ROOT/docs/lines.txt"}),
    ("filesystem__read_text_file", {"path": "ROOT/docs/lines.txt", "head": 2}),
    ("filesystem__read_text_file", {"path": "ROOT/docs/lines.txt", "tail": 1}),
    ("filesystem__read_text_file", {"path": "ROOT/docs/absent.txt"}),
    ("filesystem__read_media_file", {"path": "ROOT/docs/dot.png"}),
    (
        "filesystem__read_multiple_files",
        {"paths": ["ROOT/docs/lines.txt", "ROOT/docs/deep/terrapin.md", "ROOT/docs/absent.txt"]},
    ),
    ("filesystem__list_directory", {"path": "ROOT/docs"}),
    ("filesystem__list_directory_with_sizes", {"path": "ROOT/docs", "sortBy": "size"}),
    ("filesystem__directory_tree", {"path": "ROOT/docs", "excludePatterns": ["*.png"]}),
    ("filesystem__search_files", {"path": "ROOT/docs", "pattern": "**/*.md"}),
    ("filesystem__get_file_info", {"path": "ROOT/docs/untouched.txt"}),
    ("filesystem__list_allowed_directories", {}),
    ("git__git_status", {"repo_path": "ROOT/repository"}),
    ("git__git_diff_unstaged", {"repo_path": "ROOT/repository"}),
    ("git__git_diff_staged", {"repo_path": "ROOT/repository", "context_lines": 0}),
    ("git__git_diff", {"repo_path": "ROOT/repository", "target": "drained"}),
    ("git__git_log", {"repo_path": "ROOT/repository", "max_count": 5, "start_timestamp": None}),
    ("git__git_show", {"repo_path": "ROOT/repository", "revision": "HEAD"}),
    ("git__git_show", {"repo_path": "ROOT/repository", "revision": "no-such-revision"}),
    ("git__git_branch", {"repo_path": "ROOT/repository", "branch_type": "local"}),
    ("fetch__fetch", {"url": "SITE/pond"}),
    ("fetch__fetch", {"url": "SITE/pond", "raw": True}),
    ("fetch__fetch", {"url": "SITE/notes.txt", "max_length": 90, "start_index": 9}),
    ("fetch__fetch", {"url": "SITE/absent"}),
]


@pytest.mark.parametrize(("tool", "arguments"), READS, ids=[tool for tool, _ in READS])
def test_a_read_answers_as_it_does_without_the_proxy(
    ground: Ground, direct: dict[str, Client], served: Served, tool: str, arguments: dict[str, Any]
) -> None:
    server, name = tool.split("__")
    given = spelled(arguments, ground)
    alone, behind = direct[server].call(name, **given), served.call(tool, **given)
    assert alone is not None and behind is not None
    assert "trionyx/refusal" not in behind["_meta"], behind
    assert behind["content"] == alone["content"]
    assert behind.get("structuredContent") == alone.get("structuredContent")
    assert behind["isError"] == alone.get("isError", False)
    assert alone["content"]
    assert not (ground.root / "stolen").exists()


def test_every_catalogued_reading_tool_is_compared() -> None:
    catalog = json.loads((SHIPPED / "data/catalog.json").read_text())["trionyx"]["catalog"]["servers"]
    reading = {
        f"{server}__{name}"
        for server in SERVERS
        for name, tool in catalog[server]["tools"].items()
        if tool["effect"] in ("read", "fetch")
    }
    assert {tool for tool, _ in READS} == reading


@pytest.mark.guarantee("G21")
def test_what_the_catalog_knows_is_offered_and_nothing_else(
    ground: Ground, direct: dict[str, Client], served: Served
) -> None:
    real: set[str] = set()
    for server, client in direct.items():
        answer = client.request("tools/list")
        assert answer is not None
        real |= {f"{server}__{tool['name']}" for tool in answer["result"]["tools"]}
    listed = served.request("tools/list")
    assert listed is not None
    # The shipped catalog describes these servers as they are, down to the last tool.
    offered = {tool["name"] for tool in listed["result"]["tools"]}
    own = {name for name in offered if name.startswith("trionyx_")}  # no upstream can have this alias
    assert offered - own == real - {"__".join(tool) for tool in GROWN}


@pytest.mark.guarantee("G21")
@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("filesystem__move_file", {"source": "ROOT/docs/lines.txt", "destination": "ROOT/moved.txt"}),
        ("git__git_reset", {"repo_path": "ROOT/repository"}),
        ("unclassified__list_directory", {"path": "ROOT/docs"}),
    ],
)
def test_a_tool_without_an_entry_in_the_catalog_is_not_callable(
    ground: Ground, served: Served, tool: str, arguments: dict[str, Any]
) -> None:
    result = served.call(tool, **spelled(arguments, ground))
    assert refused(result) == ["TRX-UNKNOWN-TOOL"]
    assert last_denial(ground, result)["code"] == "unknown_tool"
    assert (ground.root / "docs/lines.txt").exists() and not (ground.root / "moved.txt").exists()
    assert ground.git("diff", "--cached", "--name-only") == "reed.txt\n"


def last_denial(ground: Ground, result: dict[str, Any] | None) -> dict[str, Any]:
    """Return the only record of a refused call."""
    assert result is not None
    call = result["_meta"]["trionyx/call"]
    ((type_, body),) = [entry for entry in ground.workspace.records() if entry[1].get("call") == call]
    assert type_ == "call.denied"
    return body


def content_of(*directories: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for directory in directories
        for path in directory.rglob("*")
        if path.is_file() and "objects" not in path.parts
    }


DANGERS: list[tuple[str, dict[str, Any], str]] = [
    ("filesystem__write_file", {"path": "OUTSIDE/x.txt", "content": "x"}, "PATH-001"),
    ("filesystem__write_file", {"path": "ROOT/docs/../../outside/x.txt", "content": "x"}, "PATH-001"),
    ("filesystem__write_file", {"path": "x.txt", "content": "x"}, "PATH-001"),
    ("filesystem__write_file", {"path": "ROOT/repository/.git/hooks/pre-commit", "content": "x"}, "PATH-002"),
    ("filesystem__write_file", {"path": "ROOT/docs/x\u202etxt.sh", "content": "x"}, "PATH-003"),
    ("filesystem__write_file", {"path": "ROOT/docs/%2e%2e/%2e%2e/x", "content": "x"}, "CATALOG-002"),
    ("filesystem__write_file", {"path": "ROOT/shared/plan.txt", "content": "x"}, "TRX-FLOW"),
    (
        "filesystem__edit_file",
        {"path": "OUTSIDE/.git/HEAD", "edits": [{"oldText": "ref", "newText": "x"}]},
        "PATH-001",
    ),
    ("filesystem__create_directory", {"path": "OUTSIDE/x"}, "PATH-001"),
    ("filesystem__read_text_file", {"path": "/etc/passwd"}, "PATH-001"),
    ("filesystem__read_multiple_files", {"paths": ["ROOT/docs/lines.txt", "/etc/passwd"]}, "PATH-001"),
    ("filesystem__search_files", {"path": "/", "pattern": "**/*.key"}, "PATH-001"),
    ("git__git_log", {"repo_path": "OUTSIDE"}, "PATH-001"),
    ("git__git_status", {"repo_path": "ROOT/../outside"}, "PATH-001"),
    ("git__git_create_branch", {"repo_path": "OUTSIDE", "branch_name": "x"}, "PATH-001"),
    ("git__git_diff", {"repo_path": "ROOT/repository", "target": "--output=ROOT/stolen"}, "CATALOG-002"),
    ("git__git_show", {"repo_path": "ROOT/repository", "revision": "-n"}, "CATALOG-002"),
    ("git__git_add", {"repo_path": "ROOT/repository", "files": ["../../outside/x"]}, "PATH-001"),
    ("git__git_add", {"repo_path": "ROOT/repository", "files": ["-A"]}, "CATALOG-002"),
    ("git__git_add", {"repo_path": "ROOT/repository", "files": [".env"]}, "PATH-002"),
    ("git__git_checkout", {"repo_path": "ROOT/repository", "branch_name": "drained"}, "PROV-003"),
    ("fetch__fetch", {"url": "http://169.254.169.254/latest/meta-data/"}, "EGR-003"),
    ("fetch__fetch", {"url": "https://10.0.0.1/"}, "EGR-002"),
    ("fetch__fetch", {"url": "https://[::ffff:10.0.0.1]/"}, "EGR-003"),
    ("fetch__fetch", {"url": "https://127.0.0.2/"}, "EGR-003"),
    ("fetch__fetch", {"url": "https://printer.local/"}, "EGR-003"),
    ("fetch__fetch", {"url": "http://www.other.example/"}, "EGR-004"),
    ("fetch__fetch", {"url": "ftp://www.other.example/x"}, "EGR-004"),
    ("fetch__fetch", {"url": "https://www.other.example:8443/"}, "EGR-010"),
    ("fetch__fetch", {"url": "https://me:word@www.other.example/"}, "EGR-001"),
    ("fetch__fetch", {"url": "https://collect.other.example/?q=terrapin"}, "FLOW-006"),
    ("fetch__fetch", {"url": "file:///etc/passwd"}, "CATALOG-002"),
    ("fetch__fetch", {"url": "http://2130706433/"}, "CATALOG-002"),
    ("fetch__fetch", {"url": "SITE/%2e%2e/pond"}, "CATALOG-002"),
]


@pytest.mark.guarantee("G03")
@pytest.mark.guarantee("G26")
@pytest.mark.parametrize(("tool", "arguments", "rule"), DANGERS)
def test_a_dangerous_call_is_denied_by_the_rule_meant_for_it(
    ground: Ground, served: Served, tool: str, arguments: dict[str, Any], rule: str
) -> None:
    before, asked = content_of(ground.root, ground.outside), list(ground.requested)
    result = served.call(tool, **spelled(arguments, ground))
    rules = refused(result)
    assert rule in rules
    denial = last_denial(ground, result)
    assert denial["rules"] == rules and "code" not in denial
    assert content_of(ground.root, ground.outside) == before
    assert ground.requested == asked


def test_work_in_its_place_is_done(ground: Ground, served: Served) -> None:
    """The denials above are no blanket refusal."""
    note = ground.root / "docs/note.txt"
    assert "wrote" in text_of(served.call("filesystem__write_file", path=str(note), content="kept")).lower()
    assert note.read_text() == "kept"
    branch = served.call("git__git_create_branch", repo_path=str(ground.repository), branch_name="spring")
    assert "spring" in text_of(branch)
    assert "spring" in ground.git("branch", "--list", "spring")


@pytest.mark.guarantee("G01")
@pytest.mark.guarantee("G08")
def test_the_log_of_all_this_verifies(ground: Ground, served: Served) -> None:
    served.call("filesystem__list_directory", path=str(ground.root / "docs"))
    served.call("filesystem__list_directory", path=str(ground.outside))
    (log,) = ground.workspace.logs()
    verdict = verify(log, TrustedKey(FileSigner.from_seed(b"A" * 32).public, "test.example/proxy"))
    assert [finding for finding in verdict.findings if finding.severity is Severity.VIOLATION] == []
    assert verdict.every_signature and verdict.size == len(ground.workspace.records())
    calls = verdict.calls
    assert calls.intents == calls.outcomes >= 2 and calls.denied >= 1
    assert (calls.in_doubt_count, calls.orphans) == (0, 0)
