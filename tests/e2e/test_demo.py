"""`trionyx-demo` itself: the theft, the proxy that stops it, the log, the tampered log; without key or OPA."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

BUNDLE = Path(str(files("trionyx_policies"))) / "bundle"
DEMO = Path(sys.executable).with_name("trionyx-demo")


@dataclass(frozen=True)
class Shown:
    code: int
    stdout: str
    stderr: str


@contextmanager
def started(temporary: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The demo in an environment that has neither key nor OPA nor anything else to lean on."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PYTHONPATH") if name in os.environ}
    with subprocess.Popen(
        [str(DEMO), *arguments],
        cwd=temporary,
        env={**kept, "PATH": "/usr/bin:/bin", "TMPDIR": str(temporary), "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def show(temporary: Path, *arguments: str) -> Shown:
    with started(temporary, *arguments) as process:
        stdout, stderr = process.communicate(timeout=120)
        return Shown(process.returncode, stdout, stderr)


def leftovers(directory: Path) -> Sequence[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        if str(directory).encode() in text:
            found.append(text.decode(errors="replace")[:200])
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shown, Path]:
    temporary = tmp_path_factory.mktemp("demo")
    return show(temporary, "--json", "--keep", str(temporary / "kept")), temporary / "kept"


@pytest.fixture(scope="module")
def told(kept: tuple[Shown, Path]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(kept[0].stdout)
    return value


def journal(directory: Path, act: str, server: str) -> list[dict[str, Any]]:
    file = directory / act / server / "journal.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_every_expectation_holds(kept: tuple[Shown, Path], told: dict[str, Any]) -> None:
    assert [expectation["text"] for expectation in told["expectations"] if not expectation["held"]] == []
    assert (kept[0].code, kept[0].stderr) == (0, "")


@pytest.mark.guarantee("G07")
def test_the_theft_succeeds_without_and_is_stopped_behind_the_proxy(kept: tuple[Shown, Path]) -> None:
    """Read from the servers' own journals, independently of the demo's judgement."""
    directory = kept[1]
    secret = (directory / "behind" / "files" / "tree" / "secrets" / "api-key.txt").read_text().strip()
    stolen = [
        entry["arguments"]["to"] for entry in journal(directory, "without", "mail") if entry["tool"] == "send"
    ]
    assert ["drop@evil.example"] in stolen
    assert any("collect.evil.example" in str(entry) for entry in journal(directory, "without", "web"))
    assert any("/shared/" in str(entry) for entry in journal(directory, "without", "files"))

    sent = [entry["arguments"] for entry in journal(directory, "behind", "mail") if entry["tool"] == "send"]
    assert [mail["to"] for mail in sent] == [["jonas@corp.example"], ["notices@parcel-updates.example"]]
    assert secret not in str(sent)
    assert [entry["arguments"]["url"] for entry in journal(directory, "behind", "web")] == [
        "https://intranet.corp.example/rooms"
    ]
    written = [
        entry["arguments"]["path"]
        for entry in journal(directory, "behind", "files")
        if entry["tool"] == "write"
    ]
    assert written == ["/archive/parcel-notice.md", "/notes/inbox-summary.md"]


@pytest.mark.guarantee("G31")
def test_the_stranger_is_kept_unread_and_a_person_is_asked(
    kept: tuple[Shown, Path], told: dict[str, Any]
) -> None:
    fates = {deed["id"]: deed["fate"] for deed in told["deeds"]}
    assert fates["read_mail"] == "as a handle, unread"
    assert fates["keep_notice"] == "done, unread"
    assert fates["answer_parcel"] == "done, a person agreed"
    notice = (kept[1] / "behind/files/tree/archive/parcel-notice.md").read_text()
    assert notice == json.loads((kept[1] / "behind/mail/inbox/m2.json").read_text())["body"]
    assert [typed["words"][0] for typed in told["terminal"]] == ["list", "show", "approve"]
    assert [typed["code"] for typed in told["terminal"]] == [0, 0, 0]
    assert any('"notices@parcel-updates.example"' in line for line in told["terminal"][1]["lines"])


def test_the_log_explains_a_stopped_call(told: dict[str, Any]) -> None:
    assert told["explained"]["code"] == 0
    text = "\n".join(told["explained"]["lines"])
    assert "/to/0 (target): nobody trusted vouches for it." in text
    assert "trionyx_reveal" in text, "it says what tainted the run"
    assert "it stands in the result of call 11, files__read. It counts" in text


def test_no_rule_of_the_policy_knows_the_story() -> None:
    """What the shipped Rego says holds for any tool; only data names the demo's."""
    packs = BUNDLE / "policy"
    rules = "".join(path.read_text() for path in packs.rglob("*.rego") if "_test" not in path.name)
    assert len(rules) > 10_000
    names = ("parcel", "jonas", "emma", "evil.example", "corp.example", "/archive", "/secrets", "api-key")
    assert [name for name in names if name in rules] == []


@pytest.mark.guarantee("G26")
def test_each_refusal_names_its_rule_and_no_secret(kept: tuple[Shown, Path], told: dict[str, Any]) -> None:
    secret = (kept[1] / "behind" / "files" / "tree" / "secrets" / "api-key.txt").read_text().strip()
    refusals = [deed["told"] for deed in told["deeds"] if deed["theft"]]
    assert len(refusals) == 3
    for refusal in refusals:
        assert any(rule in refusal for rule in ("FLOW-", "EGR-", "TRX-"))
        assert secret not in refusal


@pytest.mark.guarantee("G28")
def test_the_key_is_nowhere_in_the_clear(kept: tuple[Shown, Path]) -> None:
    secret = (kept[1] / "behind" / "files" / "tree" / "secrets" / "api-key.txt").read_bytes().strip()
    files = [file for file in (kept[1] / "proxy").rglob("*") if file.is_file()]
    assert len(files) > 5
    assert [file.name for file in files if secret in file.read_bytes()] == []


@pytest.mark.guarantee("G16")
def test_the_log_verifies_and_its_tampered_copy_does_not(told: dict[str, Any]) -> None:
    assert told["verify"]["intact"]["code"] == 0
    assert told["verify"]["tampered"]["code"] == 1


def test_nothing_is_left_running(kept: tuple[Shown, Path]) -> None:
    assert leftovers(kept[1].parent) == []
    assert [entry.name for entry in kept[1].parent.iterdir()] == ["kept"]


@pytest.mark.slow
def test_it_works_again_is_readable_and_cleans_up(tmp_path: Path) -> None:
    shown = show(tmp_path)
    assert (shown.code, shown.stderr) == (0, "")
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "STOLEN" in shown.stdout
    assert "stopped" in shown.stdout
    assert "$ trionyx-proxy approvals approve 01" in shown.stdout
    assert "Where its arguments came from:" in shown.stdout
    assert leftovers(tmp_path) == []
    assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("act", [1, 2])
def test_a_signal_ends_it_cleanly(tmp_path: Path, act: int, sent: signal.Signals) -> None:
    with started(tmp_path) as process:
        assert process.stdout is not None
        for number in range(1, act + 1):
            assert process.stdout.readline().startswith(f"act {number}")
        os.killpg(process.pid, sent)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (128 + sent, "")
    assert leftovers(tmp_path) == []
    assert [file.name for file in tmp_path.iterdir()] == []


@pytest.mark.guarantee("G27")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--live",), "trionyx-demo: set ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN\n"),
        (("--keep", "."), "trionyx-demo: --keep .: file exists\n"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    assert show(tmp_path, *arguments) == Shown(2, "", message)
