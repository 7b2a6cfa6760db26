"""Run tokens: what the launcher signed, and nothing else."""

from __future__ import annotations

import json
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_audit.keys import FileSigner, load_public_pem
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity, Label, Level
from trionyx_proxy.errors import TokenError
from trionyx_proxy.token import RunClaims, is_run_id, mint, mint_ulid, public_pem, sign, verify

NOW = 1_763_690_000
SIGNER = FileSigner.from_seed(bytes(range(32)))
KEY, PUBLIC = SIGNER.key, SIGNER.public
RUN = "01KAH4TBQ0" + "0" * 16
IDENTITY = RunClaims(RUN, "inbox", "emma", "acme", "ab" * 32, BOTTOM, NOW, NOW + 3600)
TOKEN = sign(IDENTITY, SIGNER)


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(payload: bytes, header: dict[str, Any] | None = None) -> str:
    head = b64(
        json.dumps(header or {"alg": "EdDSA", "typ": "trionyx-run+jwt"}, separators=(",", ":")).encode()
    )
    message = f"{head}.{b64(payload)}"
    return f"{message}.{b64(KEY.sign(message.encode()))}"


def claims(**changes: Any) -> bytes:
    body = json.loads(urlsafe_b64decode(TOKEN.split(".")[1] + "=="))
    return json.dumps(
        {name: value for name, value in {**body, **changes}.items() if value != "absent"}
    ).encode()


def refused(token: str, public: bytes = PUBLIC, now_s: int = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        verify(token, public, now_s=now_s)
    return str(caught.value)


LABELS = st.builds(
    Label,
    st.sampled_from(Integrity),
    st.sampled_from(Level),
    st.none() | st.frozensets(st.sampled_from(["emma", "jonas"])),
    st.frozensets(st.sampled_from(["pii", "fin"])),
)


@settings(max_examples=40, deadline=None)
@given(
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=128),
    LABELS | st.just(TOP),
    st.integers(0, NOW),
    st.integers(1, 31_536_000),
    st.booleans(),
)
def test_a_token_gives_back_the_identity_it_was_minted_for(
    name: str, floor: Label, issued: int, lifetime: int, prompted: bool
) -> None:
    identity = RunClaims(
        RUN, name, name, name, "0" * 64 if prompted else "", floor, issued, issued + lifetime
    )
    token = sign(identity, SIGNER)
    assert (
        verify(token, PUBLIC, now_s=issued) == identity == verify(token, PUBLIC, now_s=issued + lifetime - 1)
    )
    assert "expired" in refused(token, now_s=issued + lifetime)
    if issued > 61:
        assert "not valid yet" in refused(token, now_s=issued - 61)


def test_a_standard_reader_accepts_a_minted_token() -> None:
    read = jwt.decode(
        TOKEN, KEY.public_key(), algorithms=["EdDSA"], audience="trionyx-proxy", issuer="trionyx-launcher",
        options={"verify_exp": False, "verify_iat": False},
    )  # fmt: skip
    assert read["jti"] == RUN and read["floor"] == BOTTOM.to_json()


@pytest.mark.guarantee("G03")
def test_every_changed_character_is_found() -> None:
    for at, character in enumerate(TOKEN):
        refused(TOKEN[:at] + ("A" if character != "A" else "B") + TOKEN[at + 1 :])
    for token in (
        "",
        ".",
        "..",
        "a.b",
        TOKEN + ".",
        TOKEN + "=",
        TOKEN[:-1],
        f" {TOKEN}",
        f"{TOKEN}\n",
        "é" * 9,
        "A" * 70_000,
    ):
        refused(token)


def test_a_signature_in_another_spelling_is_refused() -> None:
    # 64 bytes leave four unused bits in the last character: three more spellings that lenient decoders read alike.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    at = alphabet.index(TOKEN[-1])
    assert refused(TOKEN[:-1] + alphabet[at + 1]).startswith("not a run token")


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    "header",
    [{"alg": "none", "typ": "trionyx-run+jwt"}, {"alg": "EdDSA", "typ": "JWT"},
     {"typ": "trionyx-run+jwt", "alg": "EdDSA"},
     {"alg": "EdDSA", "typ": "trionyx-run+jwt", "kid": "x"},
     {"alg": "EdDSA", "typ": "trionyx-run+jwt", "crit": ["b64"]},
     {"alg": "EdDSA", "typ": "trionyx-run+jwt", "jwk": {}}, {"alg": "HS256", "typ": "trionyx-run+jwt"},
     {"alg": "EdDSA"}],
)  # fmt: skip
def test_no_other_header_is_looked_at(header: dict[str, Any]) -> None:
    assert refused(signed(claims(), header)).startswith("not a run token")


def test_no_other_algorithm_passes() -> None:
    payload = json.loads(claims())
    typ = {"typ": "trionyx-run+jwt"}
    for key, algorithm in (
        ("s" * 64, "HS512"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (rsa.generate_private_key(65_537, 2_048), "RS256"),
    ):
        refused(jwt.encode(payload, key, algorithm=algorithm, headers=typ))
    refused(jwt.encode(payload, None, algorithm="none", headers=typ))
    assert "not signed" in refused(sign(IDENTITY, FileSigner.from_seed(bytes(32))))
    stripped = TOKEN.rpartition(".")[0]
    refused(stripped + ".")
    refused(stripped + "." + b64(bytes(64)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *[({name: "absent"}, "lacks a claim") for name in json.loads(claims())],
        ({"admin": True}, "one too many"), ({"nbf": NOW}, "one too many"),
        ({"iss": "evil"}, "somebody else"), ({"aud": "other"}, "somebody else"), ({"aud": ["trionyx-proxy"]}, "type"),
        ({"exp": True}, "type"), ({"exp": str(NOW + 9)}, "type"), ({"exp": NOW + 0.5}, "type"),
        ({"iat": None}, "type"),
        ({"exp": NOW + 31_536_001}, "lifetime"), ({"exp": NOW}, "lifetime"), ({"iat": -1}, "lifetime"),
        ({"jti": "../../etc"}, "ulid"), ({"jti": RUN.lower()}, "ulid"), ({"jti": "8" + RUN[1:]}, "ulid"),
        ({"jti": RUN + "\n"}, "ulid"),
        ({"agent": ""}, "agent"), ({"user": "a\nb"}, "user"), ({"tenant": "x" * 129}, "tenant"),
        ({"agent": 1}, "type"),
        ({"prompt": "AB" * 32}, "prompt"), ({"prompt": "ab"}, "prompt"),
        ({"floor": "top"}, "floor"), ({"floor": {**BOTTOM.to_json(), "level": "open"}}, "floor"),
        ({"floor": None}, "floor"),
    ],
)  # fmt: skip
def test_signed_claims_are_still_read_strictly(change: dict[str, Any], words: str) -> None:
    assert words in refused(signed(claims(**change)))


@pytest.mark.parametrize(
    "payload",
    [b"", b"[]", b"null", b'{"a":1,"a":1}', b"\xff", claims() + b" x", claims()[:-1] + b',"iss":"x"}'],
)
def test_signed_nonsense_is_refused(payload: bytes) -> None:
    refused(signed(payload))


@pytest.mark.guarantee("G20")
@pytest.mark.parametrize(
    "public",
    [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f", bytes(31) + b"\x80",
     b"\xee" + b"\xff" * 30 + b"\x7f",
     bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), b"", bytes(31), PUBLIC + b"\0"],
)  # fmt: skip
def test_keys_of_small_order_and_malformed_keys_are_refused(public: bytes) -> None:
    # Under the neutral element this signature fits every message.
    forged = TOKEN.rpartition(".")[0] + "." + b64(b"\x01" + bytes(63))
    assert "key is refused" in refused(forged, public)
    assert "key is refused" in refused(TOKEN, public)


def test_minting_makes_a_new_run_each_time() -> None:
    wanted: dict[str, Any] = {
        "agent": "inbox",
        "user": "emma",
        "tenant": "",
        "prompt_sha256": "",
        "floor": TOP,
    }
    token, claims = mint(SIGNER, **wanted, ttl_s=60, now_ms=NOW * 1000 + 7, entropy=lambda n: b"\1" * n)
    assert verify(token, PUBLIC, now_s=NOW) == claims
    assert claims == RunClaims(
        mint_ulid(NOW * 1000 + 7, lambda n: b"\1" * n), "inbox", "emma", "", "", TOP, NOW, NOW + 60
    )
    one, other = (mint(SIGNER, **wanted, ttl_s=60)[0] for _ in range(2))
    assert verify(one, PUBLIC).run != verify(other, PUBLIC).run
    for change in ({"agent": ""}, {"ttl_s": 0}, {"prompt_sha256": "x"}):
        with pytest.raises(TokenError):
            mint(SIGNER, **{**wanted, "ttl_s": 60, **change})


def test_the_public_key_file_reads_back() -> None:
    assert load_public_pem(public_pem(PUBLIC)) == PUBLIC


def test_ulids_match_the_specification_and_sort_by_time() -> None:
    assert mint_ulid(1_469_922_850_259, bytes) == "01ARZ3NDEK" + "0" * 14 + "00"
    assert mint_ulid(0, bytes) == "0" * 26 and mint_ulid(2**48 - 1, lambda n: b"\xff" * n) == "7" + "Z" * 25
    made = [mint_ulid(now, os.urandom) for now in range(NOW, NOW + 50)]
    assert made == sorted(made) and all(map(is_run_id, made))
    assert not any(
        map(is_run_id, ["", "0" * 25, "0" * 27, "8" + "0" * 25, "I" * 26, "0" * 25 + "/", "0" * 26 + "\n"])
    )


def test_an_identity_out_of_form_cannot_be_made() -> None:
    with pytest.raises(TokenError):
        replace(IDENTITY, run="x")
