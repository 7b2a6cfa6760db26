"""The command: every verb, every exit code, and nothing hostile on the terminal."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.cli import browsing, main, parser, terminal
from trionyx_audit.cli.verification import exit_code, worst_of
from trionyx_audit.errors import FormatError, UnsupportedError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.verdict import Exit

OpenLog = Callable[..., Log]
MakeDraft = Callable[..., Draft]
Run = Callable[..., tuple[int, str, str]]
SEGMENT = Path("seg") / "0000000000000000.jsonl"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run_


@pytest.fixture
def key(place: Path, trusted: TrustedKey) -> Path:
    path = place / "audit.vkey"
    path.write_text(str(TrustedKey(trusted.public).for_origin("corp.example/trionyx")))
    return path


def test_keygen_makes_a_usable_key(run: Run, place: Path, draft: MakeDraft) -> None:
    from trionyx_audit.keys import load_signer

    code, out, _ = run("keygen", "--name", "corp.example/trionyx", "--out", place / "k")
    assert code == 0
    assert (place / "k.vkey").read_text() == out
    with Log.open(place / "log", signer=load_signer(place / "k"), origin="corp.example/trionyx/run") as log:
        log.submit(draft()).result(20)
    assert run("verify", place / "log", "--key", out.strip())[0] == 0
    assert run("keygen", "--name", "x", "--out", place / "k")[0] == 2
    (place / "k.vkey").unlink()
    assert "file exists" in run("keygen", "--name", "x", "--out", place / "k")[2]
    assert "key name" in run("keygen", "--name", "a b", "--out", place / "k2")[2]
    code, out, _ = run("keygen", "--name", "x", "--out", place / "k3", "--json")
    assert json.loads(out)["vkey"].startswith("x+")
    (place / "k4.vkey").symlink_to(place / "nowhere" / "file")
    assert run("keygen", "--name", "x", "--out", place / "k4")[0] == 2


def test_the_report_of_an_honest_log(run: Run, ten: Path, key: Path) -> None:
    code, out, err = run("verify", ten, "--key", key)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "corp.example/trionyx/01JTEST"
    assert lines[1] == "INTEGRITY  verified   records 0–9 (10 records, 1 segment, every signature)"
    assert lines[2].startswith("           root ")
    assert lines[3:] == [
        "SEALED     10 of 10 records by the log's own checkpoint",
        "ANCHORED   to nothing outside the log   EXPOSED 10 records: a cut back to an older checkpoint would not "
        "show (use --remember or --against)",
        "COMPLETE   4 intents = 3 outcomes + 0 revoked + 1 in doubt (call c9)   and 1 denied",
        "PAYLOADS   6 of 6 present, 6 opened and as committed",
        "NOT PROVEN that unrecorded calls did not happen; that tool results are true",
    ]


def test_the_report_of_a_damaged_log(run: Run, ten: Path, key: Path) -> None:
    content = (ten / SEGMENT).read_bytes()
    start = len(b"".join(content.splitlines(keepends=True)[:5]))
    (ten / SEGMENT).write_bytes(
        content[: start + 300] + bytes([content[start + 300] ^ 1]) + content[start + 301 :]
    )
    code, out, _ = run("verify", ten, "--key", key, "--quick")
    assert code == 1
    assert f"VIOLATED   record 5 at byte {start:,} of 0000000000000000.jsonl: " in out
    assert "before that: records 0–4" in out
    assert "COMPLETE" not in out
    (ten / SEGMENT).write_bytes(b"X" + content)
    assert "before that: no records" in run("verify", ten, "--key", key)[1]
    (ten / "log.json").write_bytes(b"nonsense")
    code, out, _ = run("verify", ten, "--key", key)
    assert (code, "log.json is not valid json" in out) == (1, True)
    code, out, _ = run("verify", ten, "--key", key, "--json")
    (verdict,) = json.loads(out)["logs"]
    assert (verdict["verdict"], verdict["checks"][0]["id"]) == ("violated", "manifest")


@pytest.mark.parametrize("mode", [[], ["--quick"]])
def test_a_key_of_another_log_is_suspected(
    run: Run, ten: Path, place: Path, key: Path, mode: list[str]
) -> None:
    other = FileSigner.from_seed(b"o" * 32).public
    trusted = TrustedKey(other).for_origin("corp.example/trionyx")
    (place / "other.vkey").write_text(str(trusted))
    code, out, _ = run("verify", ten, "--key", place / "other.vkey", *mode)
    assert code == 1
    assert "perhaps the key that was given is not this log's" in out
    content = (ten / SEGMENT).read_bytes()
    second = content.index(b"\n") + 1
    (ten / SEGMENT).write_bytes(content[: second + 300] + b"X" + content[second + 301 :])
    code, out, _ = run("verify", ten, "--key", key, *mode)
    assert (code, "record 1 at byte" in out, "perhaps" in out) == (1, True, False)


def test_the_report_as_json(run: Run, ten: Path, key: Path, origin: str) -> None:
    code, out, _ = run("verify", ten, "--key", key, "--json", "--strict")
    report = json.loads(out)
    (verdict,) = report["logs"]
    assert code == report["exit"] == verdict["exit"] == 3
    assert report["schema"] == "trionyx.verify/v1"
    assert (verdict["origin"], verdict["mode"], verdict["verdict"]) == (origin, "full", "incomplete")
    assert verdict["range"] == {"first": 0, "size": 10, "segments": 1}
    assert verdict["completeness"]["in_doubt"] == ["c9"]
    assert verdict["checks"] == [
        {
            "id": "in_doubt",
            "severity": "note",
            "ok": True,
            "detail": "calls with an intent and no end, whose effect is in doubt: 1",
            "first_seq": 8,
        }
    ]
    assert len(verdict["not_proven"]) == 2


def test_a_torn_tail_is_exit_3(run: Run, ten: Path, key: Path) -> None:
    with (ten / SEGMENT).open("ab") as file:
        file.write(b'{"r":{')
    code, out, _ = run("verify", ten, "--key", key)
    assert code == 3
    assert "WARNING    record 10 at byte" in out
    (verdict,) = json.loads(run("verify", ten, "--key", key, "--json")[1])["logs"]
    assert verdict["checks"][0]["byte_offset"] == len((ten / SEGMENT).read_bytes()) - 6


def test_several_logs_and_the_worst_code(run: Run, ten: Path, place: Path, key: Path) -> None:
    bad, new, gone = place / "bad", place / "new", place / "gone"
    shutil.copytree(ten, bad)
    shutil.copytree(ten, new)
    (bad / SEGMENT).write_bytes((bad / SEGMENT).read_bytes()[:-500])
    (new / "log.json").write_bytes(b'{"format":"trionyx-audit/v2"}')
    assert run("verify", ten, gone, "--key", key)[0] == 4
    assert run("verify", ten, gone, new, "--key", key)[0] == 5
    code, out, _ = run("verify", ten, gone, new, bad, "--key", key)
    assert code == 1
    assert "gone/log.json: no such file or directory" in out
    report = json.loads(run("verify", ten, gone, bad, "--key", key, "--json")[1])
    assert [log["exit"] for log in report["logs"]] == [0, 4, 1]
    assert run("verify", ten, "--key", "other.example+00000000+xx")[0] == 2


@pytest.mark.guarantee("G17")
def test_remember_finds_a_cut_between_visits(
    run: Run, ten: Path, place: Path, key: Path, open_log: OpenLog, draft: MakeDraft
) -> None:
    memory, before = place / "memory", place / "before"
    shutil.copytree(ten, before)
    assert run("verify", ten, "--key", key, "--remember", memory)[0] == 0
    with open_log(ten) as log:
        log.submit(draft()).result(20)
    code, out, _ = run("verify", ten, "--key", key, "--remember", memory)
    assert (code, f"ANCHORED   to record 9 by the checkpoint remembered in {memory}" in out) == (0, True)
    assert "EXPOSED 1 record\n" in out
    shutil.rmtree(ten)
    before.rename(ten)
    code, out, _ = run("verify", ten, "--key", key, "--remember", memory)
    assert code == 1
    assert "record 10" in out
    assert "the log was cut: the checkpoint remembered in" in out
    assert run("verify", ten, "--key", key, "--remember", memory)[0] == 1, "the memory keeps the larger log"


def test_remember_keeps_the_larger_of_two_checkpoints(run: Run, ten: Path, place: Path, key: Path) -> None:
    memory = place / "memory"
    assert run("verify", ten, "--key", key, "--remember", memory)[0] == 0
    before = memory.read_bytes()
    first, _, rest = (ten / "checkpoints.log").read_bytes().partition(b"\n")
    (ten / "checkpoint").write_bytes(rest[: int(first)])
    (ten / "checkpoints.log").write_bytes(first + b"\n" + rest[: int(first)])
    code, out, _ = run("verify", ten, "--key", key, "--remember", memory)
    assert (code, "SEALED     1 of 10 records by the log's own checkpoint, the rest within 0.0 s" in out) == (
        0,
        True,
    )
    assert memory.read_bytes() == before


def test_the_report_of_payloads(run: Run, ten: Path, key: Path) -> None:
    assert "PAYLOADS   6 of 6 present, none opened" in run("verify", ten, "--key", key, "--quick")[1]
    shutil.rmtree(ten / "payload")
    code, out, _ = run("verify", ten, "--key", key)
    assert (code, "WARNING    record 1: payloads that are missing: 6" in out) == (3, True)
    (ten / "payload").mkdir()
    (ten / "payload" / "stray").write_bytes(b"hidden")
    _, out, _ = run("verify", "--key", key, ten)
    assert "WARNING    payload files with data that no record commits to: 1 (6 bytes)" in out


def test_remember_keeps_nothing_it_did_not_verify(run: Run, ten: Path, place: Path, key: Path) -> None:
    memory = place / "memory"
    (ten / "checkpoint").unlink()
    (ten / "checkpoints.log").unlink()
    assert run("verify", ten, "--key", key, "--remember", memory)[0] == 3
    assert json.loads(memory.read_bytes()) == {"schema": "trionyx.remembered/v1", "logs": {}}


@pytest.mark.parametrize(
    "content",
    [b"nonsense", b"[]", b'{"schema":"other"}', b'{"schema":"trionyx.remembered/v1","logs":{"a":1}}'],
)
def test_a_memory_that_is_none(run: Run, ten: Path, place: Path, key: Path, content: bytes) -> None:
    (place / "memory").write_bytes(content)
    code, _, err = run("verify", ten, "--key", key, "--remember", place / "memory")
    assert (code, "not a file of remembered checkpoints" in err) == (2, True)


def test_a_memory_that_cannot_be_used(run: Run, ten: Path, place: Path, key: Path, origin: str) -> None:
    assert run("verify", ten, "--key", key, "--remember", place)[0] == 4
    memory = {"schema": "trionyx.remembered/v1", "logs": {origin: "forged"}}
    (place / "memory").write_text(json.dumps(memory))
    code, _, err = run("verify", ten, "--key", key, "--remember", place / "memory")
    assert (code, "memory: the note has no signature lines" in err) == (2, True)


@pytest.mark.guarantee("G17")
def test_against_a_kept_checkpoint(
    run: Run, ten: Path, place: Path, key: Path, open_log: OpenLog, draft: MakeDraft, signer: FileSigner
) -> None:
    before, kept = place / "before", place / "kept"
    shutil.copytree(ten, before)
    with open_log(ten) as log:
        log.submit(draft()).result(20)
    shutil.copy(ten / "checkpoint", kept)
    code, out, _ = run("verify", ten, "--key", key, "--against", kept)
    assert (code, f"to record 10 by the checkpoint {kept}   EXPOSED 0 records" in out) == (0, True)
    assert run("verify", before, "--key", key, "--against", kept)[0] == 1
    inside = run("verify", ten, "--key", key, "--against", ten / "checkpoint")
    assert (inside[0], "anchors nothing" in inside[2]) == (2, True)
    assert run("verify", ten, "--key", key, "--against", place / "missing")[0] == 4
    kept.write_bytes(kept.read_bytes().replace(b"11", b"12"))
    assert "bad signature" in run("verify", ten, "--key", key, "--against", kept)[2]
    with open_log(place / "other", origin="corp.example/trionyx/other") as log:
        log.submit(draft()).result(20)
    shutil.copy(place / "other" / "checkpoint", kept)
    code, _, err = run("verify", ten, "--key", key, "--against", kept)
    assert (code, "of none of the logs" in err) == (2, True)


@pytest.mark.parametrize("name", ["missing-key", "audit.vkey"])
def test_a_key_that_is_none(run: Run, ten: Path, place: Path, key: Path, name: str) -> None:
    key.write_text("nonsense")
    code, _, err = run("verify", ten, "--key", place / name)
    assert (code, err.count("\n")) == (2, 1)


def test_show_filters(run: Run, ten: Path) -> None:
    code, out, _ = run("show", ten)
    assert (code, len(out.splitlines())) == (0, 10)
    assert "call.intent    run=r  call=c0  args=(10 bytes)  [" in out
    assert 'call.denied    run=r  call=d0  rules=["FLOW-001"]' in out
    for options, expected in (
        (("--run", "s"), [8]),
        (("--call", "c1"), [3, 4]),
        (("--type", "call"), [1, 2, 3, 4, 5, 6, 7, 8]),
        (("--type", "call.denied"), [7]),
        (("--type", "call.denied", "--run", "s"), []),
    ):
        rows = [json.loads(line) for line in run("show", ten, *options, "--json")[1].splitlines()]
        assert [row["seq"] for row in rows] == expected


def test_show_opens_payloads_and_escapes_them(run: Run, ten: Path, place: Path) -> None:
    _, out, _ = run("show", ten, "--call", "c1", "--payload")
    assert '         args: {"to":"x"}\n' in out
    assert "         result: \N{REPLACEMENT CHARACTER}\\x1b[31m\n" in out
    assert "\x1b" not in out
    rows = [
        json.loads(line) for line in run("show", ten, "--call", "c1", "--payload", "--json")[1].splitlines()
    ]
    assert rows[0]["payloads"] == {"args": {"text": '{"to":"x"}'}}
    assert rows[1]["payloads"] == {"result": {"base64": "/xtbMzFt"}}
    assert "payloads" not in json.loads(run("show", ten, "--call", "d0", "--json")[1])
    blob = ten / "payload" / "0000000000000000.blob"
    blob.write_bytes(blob.read_bytes()[:-1])
    assert "(missing, or not the one committed to)" in run("show", ten, "--call", "c2", "--payload")[1]
    (ten / "keyvault" / "payload.key").write_bytes(bytes(32))
    row = json.loads(run("show", ten, "--call", "c1", "--payload", "--json")[1].splitlines()[0])
    assert row["payloads"] == {"args": None}
    blob.unlink()
    blob.mkdir()
    assert run("show", ten, "--payload")[0] == 4
    (ten / "keyvault" / "payload.key").unlink()
    code, _, err = run("show", ten, "--payload")
    assert (code, "erased or not readable" in err) == (2, True)


def test_show_opens_payloads_of_every_segment(
    run: Run, place: Path, open_log: OpenLog, draft: MakeDraft
) -> None:
    with open_log(place / "log", segment_bytes=900) as log:
        for number in range(8):
            log.submit(draft(payloads={"args": b"%d" % number})).result(20)
    out = run("show", place / "log", "--payload")[1]
    assert [line.split()[-1] for line in out.splitlines() if "args: " in line] == list("01234567")


def test_show_stops_at_damage_after_printing_what_is_sound(run: Run, ten: Path) -> None:
    content = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    (ten / SEGMENT).write_bytes(b"".join(content[:4]) + b"\x1b[2J\n")
    code, out, err = run("show", ten)
    assert (code, len(out.splitlines())) == (1, 4)
    assert err == "trionyx-audit: record 4: the line is not framed as a record\n"


def test_hostile_members_stay_on_their_line(
    run: Run, place: Path, open_log: OpenLog, draft: MakeDraft
) -> None:
    hostile = "\x1b]0;owned\x07\r\n\x85\u2028\u202e\x7f\U000e0041"
    with open_log(place / "log") as log:
        log.submit(draft("call.intent", call=hostile, x=[hostile], long="x" * 500)).result(20)
    key = str(
        TrustedKey(FileSigner.from_seed(bytes(range(32))).public).for_origin("corp.example/trionyx/01JTEST")
    )
    outputs = [
        run("show", place / "log")[1],
        run("show", place / "log", "--json")[1],
        run("tail", place / "log")[1],
        run("verify", place / "log", "--key", key)[1],
        run("verify", place / "log", "--key", key, "--json")[1],
        run("prove", place / "log", hostile)[1],
        run("prove", place / "log", hostile + "x")[2],
    ]
    for out in outputs:
        assert all(char.isprintable() or char == "\n" for char in out)
    assert len(outputs[0].splitlines()) == 2
    assert "…" in outputs[0]


def test_tail_shows_the_last_and_checks_all(run: Run, ten: Path, key: Path) -> None:
    assert [int(line.split()[0]) for line in run("tail", ten, "-n", 3)[1].splitlines()] == [7, 8, 9]
    rows = run("tail", ten, "-n", 2, "--json", "--key", key)[1].splitlines()
    assert [json.loads(row)["seq"] for row in rows] == [8, 9]
    content = (ten / SEGMENT).read_bytes()
    place = content.rindex(b'"s":"') + 8
    (ten / SEGMENT).write_bytes(content[:place] + b"AAAA" + content[place + 4 :])
    assert run("tail", ten, "-n", 3)[0] == 0, "without a key only the chain is checked"
    code, out, err = run("tail", ten, "-n", 3, "--key", key)
    assert (code, len(out.splitlines())) == (1, 3)
    assert "record 9: the signature is not valid" in err
    with pytest.raises(SystemExit):
        run("tail", ten, "-n", "-1")


def test_tail_follows_and_checks_what_comes(
    ten: Path, trusted: TrustedKey, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (ten / SEGMENT).read_bytes().splitlines(keepends=True)
    (ten / SEGMENT).write_bytes(b"".join(content[:5]))
    steps = iter([content[5], content[6][:20], content[6][20:], b"".join(content[7:]), None])

    def wait() -> bool:
        step = next(steps)
        if step is not None:
            with (ten / SEGMENT).open("ab") as file:
                file.write(step)
        return step is not None

    assert browsing.tail(ten, 1, key=trusted, json=True, wait=wait) is Exit.HOLDS
    rows = capsys.readouterr().out.splitlines()
    assert [json.loads(row)["seq"] for row in rows] == [4, 5, 6, 7, 8, 9]
    steps = iter([content[9]])
    with pytest.raises(FormatError, match="record 10"):
        browsing.tail(ten, 1, key=None, json=False, wait=wait)


def test_following_ends_with_the_keyboard(run: Run, ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([0.2])

    def sleep(seconds: float) -> None:
        assert seconds == parser._POLL_S
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(parser.time, "sleep", sleep)
    assert run("tail", "-f", ten)[0] == 0


def test_prove_and_check(run: Run, ten: Path, place: Path, key: Path) -> None:
    proof = place / "p.tlog-proof"
    assert run("prove", ten, 5, "--out", proof)[0] == 0
    code, out, _ = run("check", proof, "--key", key)
    assert (code, "PROOF      holds: record 5 is one of the first 10 of the log" in out) == (0, True)
    facts = json.loads(run("check", proof, "--key", key, "--json")[1])
    assert (facts["ok"], facts["kind"], facts["seq"], facts["record"]["call"]) == (True, "inclusion", 5, "c2")
    assert run("prove", ten, 5)[1].encode() == proof.read_bytes()
    assert json.loads(run("prove", ten, 5, "--json")[1])["proof"].encode() == proof.read_bytes()
    proof.write_bytes(proof.read_bytes().replace(b"index 5", b"index 4"))
    code, out, _ = run("check", proof, "--key", key)
    assert (code, "PROOF      INVALID" in out) == (1, True)
    assert json.loads(run("check", proof, "--key", key, "--json")[1])["ok"] is False
    assert run("check", place / "missing", "--key", key)[0] == 4
    assert run("prove", ten, 5, "--out", place / "no" / "where")[0] == 2


def test_a_call_is_proved_by_its_id(run: Run, ten: Path) -> None:
    assert "index 7" in run("prove", ten, "d0")[1]
    code, _, err = run("prove", ten, "c1")
    assert (code, "3 (call.intent), 4 (call.outcome)" in err) == (2, True)
    assert "no record of call" in run("prove", ten, "nobody")[2]
    assert "no checkpoint covers record 99 yet" in run("prove", ten, 99)[2]


def test_growth_is_proved_from_a_kept_checkpoint(
    run: Run, ten: Path, place: Path, key: Path, open_log: OpenLog, draft: MakeDraft
) -> None:
    shutil.copy(ten / "checkpoint", place / "kept")
    with open_log(ten) as log:
        log.submit(draft()).result(20)
    proof = place / "growth"
    assert run("prove", ten, "--since", place / "kept", "--out", proof)[0] == 0
    code, out, _ = run("check", proof, "--key", key)
    assert (code, "the log of 10 records is the beginning of the log of 11" in out) == (0, True)
    facts = json.loads(run("check", proof, "--key", key, "--json")[1])
    assert (facts["kind"], facts["old_size"], facts["size"]) == ("consistency", 10, 11)
    assert run("prove", ten, "--since", place / "none")[0] == 2
    shutil.copy(ten / "checkpoint", place / "kept")
    shutil.copytree(ten, place / "older")
    (place / "older" / "checkpoint").write_bytes(
        (ten / "checkpoints.log").read_bytes().partition(b"\n")[2][:200]
    )
    assert run("prove", place / "older", "--since", place / "kept")[0] == 2


def test_a_reader_that_goes_away_is_no_traceback(ten: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [
        sys.executable,
        "-c",
        "import sys; from trionyx_audit.cli import main; sys.exit(main())",
        "show",
        str(ten),
    ]
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (4, b"")


def test_a_broken_pipe_within_the_process(run: Run, ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(browsing, "write_lines", broken)
    copied: list[int] = []
    monkeypatch.setattr(os, "dup2", lambda source, target: copied.append(target))
    with open(os.devnull, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["show", str(ten)]) == 4
        monkeypatch.undo()
    assert len(copied) == 1


def test_a_terminal_of_another_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii"))
    terminal.write_lines(["records 0–9 é"])
    assert buffer.getvalue() == b"records 0\\u20139 \\xe9\n"


def test_codes_of_errors() -> None:
    assert exit_code(FormatError("x")) is Exit.VIOLATED
    assert exit_code(UnsupportedError("x")) is Exit.UNSUPPORTED
    assert worst_of([Exit.HOLDS, Exit.INCOMPLETE]) is Exit.INCOMPLETE
    assert worst_of(list(Exit)) is Exit.VIOLATED
