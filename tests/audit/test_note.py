"""Signed notes, verifier keys and checkpoints, by C2SP's rules."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.checkpoint import Checkpoint, TrustedKey, claimed_checkpoint, open_checkpoint
from trionyx_audit.errors import AuditError, KeyMaterialError, NoteError
from trionyx_audit.keys import FileSigner
from trionyx_audit.note import MAX_NOTE_BYTES, VerifierKey, decode_base64, open_note, sign_note

NAME = "log.example/a"
TEXT = "a text\n\nof two paragraphs\n"
SIGNER = FileSigner.from_seed(bytes(32))
KEY = VerifierKey(NAME, SIGNER.public)
NOTE = sign_note(TEXT, NAME, SIGNER)
OTHER = FileSigner.from_seed(b"1" * 32)


def test_a_note_round_trips() -> None:
    assert open_note(NOTE, (KEY,)) == (TEXT, (KEY,))
    assert VerifierKey.parse(str(KEY)) == KEY


@pytest.mark.guarantee("G18")
def test_a_note_of_go_is_accepted(auditcheck: Callable[..., str]) -> None:
    made = json.loads(auditcheck("sign", "go.example/log", TEXT))
    key = VerifierKey.parse(made["vkey"])
    assert str(key) == made["vkey"]
    assert open_note(made["note"].encode(), (KEY, key)) == (TEXT, (key,))


def test_signatures_of_strangers_are_skipped_and_one_of_ours_is_enough() -> None:
    stranger = sign_note(TEXT, "witness.example", OTHER).rpartition(b"\n\n")[2]
    same_name = sign_note(TEXT, NAME, OTHER).rpartition(b"\n\n")[2]
    assert open_note(NOTE + stranger + same_name, (KEY,)) == (TEXT, (KEY,))
    both = open_note(
        NOTE + stranger + NOTE.rpartition(b"\n\n")[2], (KEY, VerifierKey("witness.example", OTHER.public))
    )
    assert [key.name for key in both[1]] == [NAME, "witness.example"]


LINE = NOTE.rpartition(b"\n\n")[2]


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "no signature lines"),
        (b"only a text\n", "no signature lines"),
        (NOTE[:-1], "no signature lines"),
        (NOTE.replace(b"a text", b"b text"), "bad signature"),
        (NOTE.replace(b"\n", b"\r\n"), "control character"),
        (b"\xff" + NOTE, "utf-8"),
        (NOTE + b"x" * MAX_NOTE_BYTES, "too long"),
        (NOTE + LINE * 64, "too many"),
        (NOTE + b"- no dash\n", "malformed signature line"),
        (NOTE + "— nothing\n".encode(), "malformed signature line"),
        (NOTE + "— a+b AAAAAAA=\n".encode(), "malformed signature line"),
        (NOTE + "— short AAAAAA==\n".encode(), "malformed signature line"),
        (NOTE + "— bad !!!!\n".encode(), "base64"),
        (NOTE + "— bad é\n".encode(), "base64"),
        (
            TEXT.encode() + b"\n" + f"— {NAME} {b64encode(KEY.id + bytes(3)).decode()}\n".encode(),
            "bad signature",
        ),
        (sign_note(TEXT, "stranger.example", OTHER), "no signature of a trusted key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_notes_that_are_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(NoteError, match=reason):
        open_note(raw, (KEY,))


@pytest.mark.parametrize("text", ["no newline", "tab\t\n", "cr\r\n"])
def test_texts_that_cannot_be_signed(text: str) -> None:
    with pytest.raises(NoteError):
        sign_note(text, NAME, SIGNER)


@pytest.mark.guarantee("G20")
@pytest.mark.parametrize(
    ("vkey", "reason"),
    [
        ("", "form name"),
        ("name", "ed25519"),
        ("name+00000000", "ed25519"),
        ("name+00000000+!", "form name"),
        ("name+00000000+" + b64encode(b"\x02" + SIGNER.public).decode(), "ed25519"),
        ("name+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key id"),
        ("name+00000000+" + b64encode(b"\x01" + SIGNER.public + b"x").decode(), "32 bytes"),
        ("name+00000000+" + b64encode(b"\x01" + (1).to_bytes(32, "little")).decode(), "small order"),
        ("a b+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key name"),
        ("+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key name"),
        ("a\u2003b+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key name"),
        ("a\x07b+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key name"),
        ("n" * 600 + "+00000000+" + b64encode(b"\x01" + SIGNER.public).decode(), "key name"),
    ],
    ids=lambda value: value[:16],
)
def test_verifier_keys_that_are_refused(vkey: str, reason: str) -> None:
    with pytest.raises(KeyMaterialError, match=reason):
        VerifierKey.parse(vkey if vkey else "++!")


@pytest.mark.parametrize("text", ["QQ=", "QR==", "Q Q=", "é", "QQ==\n"])
def test_each_byte_string_has_one_base64(text: str) -> None:
    with pytest.raises(NoteError):
        decode_base64(text)


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_random_bytes_never_open_and_never_crash(raw: bytes) -> None:
    with pytest.raises(NoteError):
        open_note(raw, (KEY,))


CHECKPOINT = Checkpoint(NAME, 7, bytes(range(32)))


def test_a_checkpoint_round_trips() -> None:
    raw = CHECKPOINT.signed(SIGNER)
    assert open_checkpoint(raw, KEY) == claimed_checkpoint(raw) == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME}\n7\n",
        f"{NAME}\n07\n{b64encode(bytes(32)).decode()}\n",
        f"{NAME}\n-1\n{b64encode(bytes(32)).decode()}\n",
        f"{NAME}\n7\n{b64encode(bytes(31)).decode()}\n",
        f"{NAME}\n7\n{b64encode(bytes(32)).decode()}\nextension\n",
        f"\n7\n{b64encode(bytes(32)).decode()}\n",
        f"{NAME}\n7\nnot base64\n",
        f"{NAME}\n7\n{b64encode(bytes(32)).decode()}",
    ],
)
def test_texts_that_are_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(NoteError, match="another log"):
        open_checkpoint(sign_note(Checkpoint("log.example/b", 7, bytes(32)).text(), NAME, SIGNER), KEY)
    with pytest.raises(NoteError, match="utf-8"):
        claimed_checkpoint(b"\xff")


def test_one_key_is_trusted_for_the_logs_below_its_name() -> None:
    key = TrustedKey(SIGNER.public, "log.example")
    assert key.for_origin("log.example").name == "log.example"
    assert key.for_origin("log.example/a") == KEY
    for origin in ("log.example.evil", "other", "log.exampl"):
        with pytest.raises(KeyMaterialError, match=r"below log\.example"):
            key.for_origin(origin)
    assert TrustedKey(SIGNER.public).for_origin("anything").public == SIGNER.public


def test_a_trusted_key_is_read_from_text_and_files(place: Path) -> None:
    assert TrustedKey.load(str(KEY)) == TrustedKey(SIGNER.public, NAME)
    path = place / "key"
    path.write_text(f"{KEY}\n")
    assert TrustedKey.load(str(path)) == TrustedKey(SIGNER.public, NAME)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(SIGNER.key.public_key().public_bytes(serialization.Encoding.PEM, spki))
    assert TrustedKey.load(str(path)) == TrustedKey(SIGNER.public)


def test_what_is_no_trusted_key(place: Path) -> None:
    path = place / "key"
    with pytest.raises(AuditError, match="no such file"):
        TrustedKey.load(str(path))
    path.write_bytes(b"\xff")
    with pytest.raises(AuditError, match="not a key file"):
        TrustedKey.load(str(path))
    path.write_text("nonsense")
    with pytest.raises(AuditError, match="key: "):
        TrustedKey.load(str(path))
