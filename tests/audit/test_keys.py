"""Keys: files that leak nothing, public keys that are worth trusting, signatures as Wycheproof has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.errors import KeyMaterialError
from trionyx_audit.keys import (
    FileSigner,
    check_public_key,
    load_public_pem,
    load_signer,
    verifies,
    write_signer,
)

P = 2**255 - 19
# The y coordinates of the eight points of small order (RFC 8032 curve), with either sign of x.
SMALL_ORDER_Y = (
    0,
    1,
    P - 1,
    int.from_bytes(
        bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
    ),
    int.from_bytes(
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"
    ),
)


@pytest.mark.guarantee("G20")
@pytest.mark.parametrize("y", SMALL_ORDER_Y)
@pytest.mark.parametrize("sign", [0, 1])
def test_small_order_keys_are_refused(y: int, sign: int) -> None:
    key = (y | sign << 255).to_bytes(32, "little")
    with pytest.raises(KeyMaterialError, match="small order"):
        check_public_key(key)


@pytest.mark.guarantee("G20")
def test_the_library_alone_would_accept_a_forgery_under_a_small_order_key() -> None:
    neutral = (1).to_bytes(32, "little")
    forged = neutral + bytes(32)
    assert verifies(Ed25519PublicKey.from_public_bytes(neutral), forged, b"any message at all")


@pytest.mark.guarantee("G20")
@pytest.mark.parametrize("excess", range(19))
def test_non_canonical_keys_are_refused(excess: int) -> None:
    with pytest.raises(KeyMaterialError, match="not canonically encoded"):
        check_public_key((P + excess).to_bytes(32, "little"))


@pytest.mark.guarantee("G20")
@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(KeyMaterialError, match=f"not {length}"):
        check_public_key(bytes(length))


@pytest.mark.guarantee("G20")
def test_bytes_that_are_no_point_are_refused() -> None:
    with pytest.raises(KeyMaterialError, match="not a point"):
        check_public_key((2).to_bytes(32, "little"))


@settings(max_examples=25, deadline=None)
@given(st.binary(min_size=32, max_size=32))
def test_every_honest_key_is_accepted(seed: bytes) -> None:
    check_public_key(FileSigner.from_seed(seed).public)


def test_wycheproof(go_module: Callable[[str, str, str], Path]) -> None:
    directory = go_module(
        "github.com/google/wycheproof",
        "v0.0.0-20191219022705-2196000605e4",
        "h1:/jhsqtCSTRK25HsqYePIHeLbPIDBwVOANhQmWRdgsyA=",
    )
    groups = json.loads((directory / "testvectors" / "eddsa_test.json").read_bytes())["testGroups"]
    count = 0
    for group in groups:
        raw = bytes.fromhex(group["key"]["pk"])
        check_public_key(raw)
        public = Ed25519PublicKey.from_public_bytes(raw)
        for test in group["tests"]:
            valid = verifies(public, bytes.fromhex(test["sig"]), bytes.fromhex(test["msg"]))
            assert valid == (test["result"] == "valid"), test["tcId"]
            count += 1
    assert count == 145


def test_a_key_file_round_trips_and_is_private(place: Path, signer: FileSigner) -> None:
    path = place / "audit.key"
    write_signer(path, signer)
    assert path.stat().st_mode & 0o777 == 0o600
    loaded = load_signer(path)
    assert loaded.public == signer.public
    assert loaded.sign(b"x") == signer.sign(b"x")
    assert "key" not in repr(loaded)
    with pytest.raises(KeyMaterialError, match="file exists"):
        write_signer(path, signer)


def test_a_key_file_that_others_can_read_is_refused(place: Path, signer: FileSigner) -> None:
    path = place / "audit.key"
    write_signer(path, signer)
    path.chmod(0o640)
    with pytest.raises(KeyMaterialError, match="readable by others"):
        load_signer(path)


def test_files_that_are_no_key(place: Path) -> None:
    path = place / "key"
    with pytest.raises(KeyMaterialError, match="no such file"):
        load_signer(path)
    path.touch(0o600)
    with pytest.raises(KeyMaterialError, match="not an unencrypted private key"):
        load_signer(path)
    other = generate_private_key(SECP256R1())
    path.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(KeyMaterialError, match="not an ed25519 key"):
        load_signer(path)
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    with pytest.raises(KeyMaterialError, match="not an ed25519 key"):
        load_public_pem(other.public_key().public_bytes(serialization.Encoding.PEM, spki))
    with pytest.raises(KeyMaterialError, match="not a public key"):
        load_public_pem(b"-----BEGIN nothing")


def test_a_public_pem_is_read(signer: FileSigner) -> None:
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = signer.key.public_key().public_bytes(serialization.Encoding.PEM, spki)
    assert load_public_pem(pem) == signer.public
