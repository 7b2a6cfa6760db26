"""Attacks on a log and its verifier that once worked, each kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trionyx_audit import storage
from trionyx_audit.cli import main
from trionyx_audit.errors import StorageError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_audit.note import VerifierKey

SMALL = 900
"""Segment size that makes a log rotate after a few records."""


@pytest.fixture
def vkey(signer: FileSigner) -> str:
    return str(VerifierKey("corp.example/trionyx", signer.public))


def full_disk(patch: pytest.MonkeyPatch) -> None:
    """Let no file be created any more."""
    real = storage.AppendFile.__init__

    def refuse(self: storage.AppendFile, path: Path, size: int, *, create: bool) -> None:
        if create:
            raise StorageError("no space left on device")
        real(self, path, size, create=create)

    patch.setattr(storage.AppendFile, "__init__", refuse)


def until_refused(log: Log, draft: Callable[..., Draft]) -> None:
    with pytest.raises(StorageError):
        for number in range(10):
            log.submit(draft("x.y", n=number)).result()


@pytest.mark.guarantee("G19")
def test_a_log_goes_on_after_a_crash_within_a_rotation(
    place: Path, open_log: Callable[..., Log], draft: Callable[..., Draft]
) -> None:
    with open_log(place / "log", segment_bytes=SMALL) as log:
        log.submit(draft("x.y", n=1)).result()
        size = log.size
    # A crash between the two files of the next segment leaves the first of them.
    (place / "log/payload" / f"{size:016d}.blob").touch()
    for _ in range(2):
        with open_log(place / "log", segment_bytes=SMALL) as log:
            for number in range(5):
                log.submit(draft("x.y", n=number)).result()


@pytest.mark.guarantee("G19")
def test_a_failed_rotation_frees_the_lock_and_nobody_elses_file(
    place: Path, open_log: Callable[..., Log], draft: Callable[..., Draft], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = open_log(place / "log", segment_bytes=SMALL)
    with monkeypatch.context() as patch:
        full_disk(patch)
        until_refused(log, draft)
    strangers = [os.open(place / f"stranger{number}", os.O_CREAT | os.O_WRONLY) for number in range(6)]
    with pytest.raises(StorageError):
        log.close()
    for descriptor in strangers:
        os.fstat(descriptor)
        os.close(descriptor)
    open_log(place / "log").close()


@pytest.mark.guarantee("G16")
@pytest.mark.parametrize("quick", [[], ["--quick"]], ids=["full", "quick"])
def test_a_file_of_endless_zeros_is_answered(ten: Path, vkey: str, quick: list[str]) -> None:
    (segment,) = (ten / "seg").iterdir()
    segment.chmod(0o600)
    os.truncate(segment, 1 << 43)
    assert main(["verify", str(ten), "--key", vkey, *quick]) == 1


@pytest.mark.parametrize(
    "name",
    [
        "log.json",
        "checkpoint",
        "checkpoints.log",
        "seg/0000000000000000.jsonl",
        "payload/0000000000000000.blob",
    ],
)
def test_a_pipe_in_place_of_a_file_is_answered(ten: Path, vkey: str, name: str) -> None:
    (ten / name).unlink()
    os.mkfifo(ten / name)
    assert main(["verify", str(ten), "--key", vkey]) in (1, 3, 4)


@pytest.mark.guarantee("G16")
def test_a_checkpoint_of_another_log_does_not_hide_a_violation(ten: Path, vkey: str, place: Path) -> None:
    shutil.copy(ten / "checkpoint", place / "kept")
    (ten / "log.json").write_bytes(b"nonsense")
    assert main(["verify", str(ten), "--key", vkey, "--against", str(place / "kept"), "--json"]) == 1


def test_a_published_note_has_one_spelling(ten: Path, vkey: str) -> None:
    path = ten / "checkpoints.log"
    path.write_bytes(b"0" + path.read_bytes())
    assert main(["verify", str(ten), "--key", vkey]) != 0


def test_a_log_without_segments_is_not_continued(ten: Path, open_log: Callable[..., Log]) -> None:
    for path in (ten / "seg").iterdir():
        path.unlink()
    (ten / "checkpoint").unlink()
    (ten / "checkpoints.log").write_bytes(b"")
    with pytest.raises(StorageError):
        open_log(ten)
