"""`trionyx-proxy explain` and `graph`: verified before told, refused where it does not verify, and nothing hidden."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.note import VerifierKey
from trionyx_audit.verdict import Verdict
from trionyx_audit.verify import verify
from trionyx_policies.bundle import load_bundle
from trionyx_proxy import inquiry
from trionyx_proxy.cli import main
from trionyx_proxy.errors import EvidenceError
from trionyx_testing.capture import output_of
from trionyx_testing.client import Served
from trionyx_testing.talking import set_data
from trionyx_testing.telling import ORIGIN, VKEY, drafts, write_log
from trionyx_testing.workspace import Workspace

OTHER_VKEY = VKEY.replace("corp.example/trionyx", "corp.example/other")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return write_log(tmp_path / "log")


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    code = main(argv)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return code, printed.err


def tamper(log: Path, old: bytes, new: bytes) -> None:
    (segment,) = (log / "seg").iterdir()
    data = segment.read_bytes()
    assert old in data and len(old) == len(new)
    segment.write_bytes(data.replace(old, new, 1))


def test_what_is_told_says_whether_it_was_verified(log: Path) -> None:
    assert "was verified with the given key." in output_of(
        main, ["explain", "1", "--log", str(log), "--key", VKEY]
    )
    assert "was NOT VERIFIED" in output_of(main, ["explain", "1", "--log", str(log)])
    assert "log verified" in output_of(main, ["graph", "--log", str(log), "--key", VKEY])
    assert "log NOT VERIFIED" in output_of(main, ["graph", "--log", str(log)])


def test_a_log_that_does_not_verify_is_refused_unless_that_is_asked_for(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(log, b'"mail__send"', b'"mail__sent"')
    for command in (["explain", "1"], ["graph"]):
        code, message = failed(capsys, *command, "--log", str(log), "--key", VKEY)
        assert code == 1
        assert message.startswith("trionyx-proxy: audit log: the log does not verify: ")
    text = output_of(main, ["explain", "1", "--log", str(log), "--key", VKEY, "--unverified"])
    assert "DOES NOT VERIFY: nothing that follows can be relied on." in text


def test_a_changed_signature_stops_the_story_at_that_record(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The chain holds: only a key can tell.
    lines = (segment := next((log / "seg").iterdir())).read_bytes().splitlines(keepends=True)
    last = lines[-1]
    changed = b"B" if last[-6:-5] != b"B" else b"C"
    segment.write_bytes(b"".join(lines[:-1]) + last[:-6] + changed + last[-5:])
    assert failed(capsys, "explain", "r5", "--log", str(log), "--key", VKEY)[0] == 1
    assert "NOT VERIFIED" in output_of(main, ["explain", "r5", "--log", str(log)])


def test_a_cut_log_is_refused(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment = next((log / "seg").iterdir())
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-2]))
    assert failed(capsys, "explain", "1", "--log", str(log), "--key", VKEY)[0] == 1


def test_a_broken_chain_shows_without_a_key_too(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tamper(log, b'"mail__send"', b'"mail__sent"')
    assert failed(capsys, "explain", "1", "--log", str(log))[0] == 1
    assert "DOES NOT VERIFY" in output_of(main, ["explain", "1", "--log", str(log), "--unverified"])


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["explain", "nobody"], 2),
        (["explain", "0"], 2),
        (["explain", "8"], 2),
        (["explain", "1", "--key", OTHER_VKEY], 2),
        (["explain", "1", "--key", "/nonexistent"], 2),
        (["explain", "1", "--bundle", "/nonexistent"], 2),
        (["graph", "--key", OTHER_VKEY], 2),
    ],
)
def test_what_cannot_be_used_is_said(
    log: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int
) -> None:
    found, message = failed(capsys, *argv, "--log", str(log))
    assert found == code and message.startswith("trionyx-proxy: ")


def test_usage(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (
        ["explain", "1"],
        ["graph", "--log", str(log), "--format", "png"],
        ["graph", "--log", str(log), "--calls", "0"],
    ):
        with pytest.raises(SystemExit) as ended:
            main(argv)
        assert ended.value.code == 2
    capsys.readouterr()


def test_no_log_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert failed(capsys, "explain", "1", "--log", str(tmp_path / "absent"))[0] == 4


def test_an_id_that_a_shell_was_tricked_into_is_not_printed_raw(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, message = failed(capsys, "explain", "\x1b[2J", "--log", str(log))
    assert "\x1b" not in message


def test_values_need_the_keyvault(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["explain", "s1", "--log", str(log), "--key", VKEY]
    assert "hunter2" not in output_of(main, argv)
    assert "the key is hunter2" in output_of(main, [*argv, "--values"])
    assert (
        json.loads(output_of(main, [*argv, "--values", "--json"]))["arguments"][0]["value"]
        == "the key is hunter2"
    )
    assert "value" not in json.loads(output_of(main, [*argv, "--json"]))["arguments"][0]
    for key in (log / "keyvault").iterdir():
        key.unlink()
    assert failed(capsys, *argv, "--values")[0] == 4
    assert "hunter2" not in output_of(main, argv)


def test_arguments_that_are_not_the_recorded_ones_are_not_shown(
    log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (log / "payload").iterdir():
        data = bytearray(path.read_bytes())
        for place in range(200, len(data), 50):
            data[place] ^= 1
        path.write_bytes(data)
    code, message = failed(capsys, "explain", "s1", "--log", str(log), "--values")
    assert code == 1 and "not the ones that the record commits to" in message


def between(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Let something happen to the log after it was verified and before it is read."""

    def verify_then_change(*args: Any, **options: Any) -> Verdict:
        verdict = verify(*args, **options)
        change()
        return verdict

    monkeypatch.setattr(inquiry, "verify", verify_then_change)


def test_only_what_was_verified_is_told(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = ("call.denied", b'{"call":"late","rules":[],"run":"01JRUN"}', {})
    between(monkeypatch, lambda: write_log(log, iter([late])))
    found = inquiry.inquire(log, TrustedKey.parse(VKEY), unverified=False)
    assert found.basis.records == 13 and "late" not in found.chronicle.calls


def test_a_log_that_is_exchanged_meanwhile_is_noticed(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_log(
        tmp_path / "other",
        ((type_, body.replace(b"mail__send", b"mail__sent"), payloads) for type_, body, payloads in drafts()),
    )

    def exchange() -> None:
        shutil.rmtree(log)
        shutil.copytree(other, log)

    opened = inquiry.inquire(log, None, unverified=False)
    between(monkeypatch, exchange)
    with pytest.raises(EvidenceError, match="changed while it was read"):
        inquiry.inquire(log, TrustedKey.parse(VKEY), unverified=False)
    with pytest.raises(EvidenceError, match="changed while it was read"):
        opened.explain(opened.call("s1"), {}, with_values=True)


def test_titles_come_from_the_bundle_that_decided(tmp_path: Path) -> None:
    bundle = load_bundle()
    rule = next(iter(bundle.rules))

    def decided_by_it(body: bytes) -> bytes:
        body = body.replace(b'"digest":"d1"', b'"digest":"%s"' % bundle.digest.encode())
        return body.replace(b"CAT-001", rule.encode())

    records = ((type_, decided_by_it(body), payloads) for type_, body, payloads in drafts())
    log = write_log(tmp_path / "log", records)
    value = json.loads(output_of(main, ["explain", "r1", "--log", str(log), "--json"]))
    assert value["decision"]["rules"][0]["title"] == bundle.rules[rule].title
    assert value["decision"]["rules"][0]["known"] is True


def test_a_run_is_found_by_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = Workspace.create(tmp_path)
    (tmp_path / "audit.key.vkey").write_text(VKEY + "\n")
    write_log(tmp_path / "audit" / "01JRUN")
    argv = ["explain", "r1", "--config", str(workspace.config)]
    assert f"The log {ORIGIN} (13 records) was verified" in output_of(main, [*argv, "--run", "01JRUN"])
    assert failed(capsys, *argv)[0] == 2
    assert failed(capsys, *argv, "--run", "../audit/01JRUN")[0] == 2
    assert failed(capsys, *argv, "--run", "..")[0] == 2


def test_a_picture_is_written_where_it_is_asked_for_and_never_into_a_log(
    log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["graph", "--log", str(log), "--key", VKEY]
    assert output_of(main, [*argv, "--format", "svg", "-o", str(tmp_path / "run.svg")]) == ""
    assert fromstring((tmp_path / "run.svg").read_text()).tag.endswith("svg")  # noqa: S314 - our own
    assert output_of(main, [*argv, "--format", "svg"]) == (tmp_path / "run.svg").read_text()
    assert json.loads(output_of(main, [*argv, "--format", "json"]))["schema"] == "trionyx.graph/v1"
    assert output_of(main, argv).startswith("digraph run {")
    assert failed(capsys, *argv, "-o", str(log / "seg" / "x"))[0] == 2
    assert not (log / "seg" / "x").exists()
    assert failed(capsys, *argv, "-o", str(tmp_path / "absent" / "x"))[0] == 2


def test_a_real_run_is_told_while_it_is_served(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    set_data(workspace, "flow", hide_text=True)
    with Served(workspace) as proxy:
        (shown,) = proxy.call("test__public")["content"]
        proxy.call("trionyx_reveal", handle=shown["text"])
        proxy.call("test__note", text="x")
        (log,) = workspace.logs()
        vkey = str(VerifierKey("test.example/proxy", FileSigner.from_seed(b"A" * 32).public))
        argv = ["--log", str(log), "--key", vkey, "--bundle", str(tmp_path / "bundle")]
        told = [output_of(main, ["explain", number, *argv, "--values"]) for number in ("1", "2", "3")]
    assert "called test__public, a tool with the effect read." in told[0]
    assert "bytes of text reached the agent only as handles." in told[0]
    assert "the run had seen text that anybody may have written" in told[1]
    assert "It was tainted, with text that anybody may have written, since call 2, trionyx_reveal," in told[2]
    assert "\n      \\u201cx\\u201d\n" in told[2] or "\n      “x”\n" in told[2]
    assert "not at hand" not in "".join(told), "the bundle is at hand, so its rules have words"
    assert "The tool carried it out and gave a result, which was given to the agent." in told[2]
