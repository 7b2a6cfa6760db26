"""The worked example of FORMAT.md: this package writes exactly those bytes, and they mean what the document says."""

from __future__ import annotations

import itertools
import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from trionyx_audit.log import Draft, Log
from trionyx_audit.proof import prove_inclusion

DOCUMENT = Path(__file__).parents[2] / "audit" / "FORMAT.md"
ORIGIN = b"example.org/log"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@pytest.fixture(scope="module")
def blocks() -> list[bytes]:
    text = DOCUMENT.read_text()
    return [
        block.encode() for block in re.findall(r"```\w+\n(.*?\n)```", text[text.index("## Example") :], re.S)
    ]


def test_this_package_writes_the_example(
    place: Path, open_log: Callable[..., Log], blocks: list[bytes]
) -> None:
    counter = itertools.count()

    def entropy(count: int) -> bytes:
        return bytes(next(counter) % 256 for _ in range(count))

    with open_log(place / "log", origin=ORIGIN.decode(), entropy=entropy) as log:
        arguments = {"args": b'{"to":"jonas@corp.example"}'}
        log.submit(Draft("call.intent", b'{"call":"c1","run":"r1","tool":"mail__send"}', arguments)).result(
            20
        )
        log.submit(Draft("call.outcome", b'{"call":"c1","run":"r1","status":"ok"}')).result(20)
    manifest, segment, _, checkpoint, blob, proof = blocks
    assert (place / "log" / "log.json").read_bytes() == manifest
    assert (place / "log" / "seg" / "0000000000000000.jsonl").read_bytes() == segment
    assert (place / "log" / "checkpoint").read_bytes() == checkpoint
    assert (place / "log" / "payload" / "0000000000000000.blob").read_bytes() == bytes.fromhex(blob.decode())
    assert prove_inclusion(place / "log", 1).encode() == proof


def test_the_example_follows_from_the_document_alone(blocks: list[bytes]) -> None:
    """Recomputed with hashes, signatures and base64 only; nothing of the package is used."""
    _, segment, leaf_text, checkpoint, blob, proof = blocks
    lines = segment.splitlines()
    leaves = [sha256(b"\x00" + line).digest() for line in lines]
    assert [leaf.hex() for leaf in leaves] == leaf_text.decode().split()
    key_id = sha256(ORIGIN + b"\n\x01" + PUBLIC).digest()[:4]
    previous = "0" * 64
    for line, leaf in zip(lines, leaves, strict=True):
        body = line[5:-96]
        assert line == b'{"r":' + body + b',"s":"' + line[-90:-2] + b'"}'
        assert b64decode(line[-90:-2]) == KEY.sign(b"trionyx-audit/v1 record\n" + body)
        assert b'"prev":"%b"' % previous.encode() in body
        assert b'"kid":"%b"' % key_id.hex().encode() in body
        previous = leaf.hex()
    vkey = ORIGIN + b"+" + key_id.hex().encode() + b"+" + b64encode(b"\x01" + PUBLIC)
    assert b'"vkey":"%b"' % vkey in lines[0]

    left = sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    root = sha256(b"\x01" + left + leaves[2]).digest()
    text = ORIGIN + b"\n3\n" + b64encode(root) + b"\n"
    signature = b64encode(key_id + KEY.sign(text))
    assert checkpoint == text + b"\n\xe2\x80\x94 " + ORIGIN + b" " + signature + b"\n"

    path = [b64encode(leaves[0]), b64encode(leaves[2])]
    head = [b"c2sp.org/tlog-proof@v1", b"extra " + b64encode(lines[1]), b"index 1", *path]
    assert proof == b"\n".join(head) + b"\n\n" + checkpoint

    entry = bytes.fromhex(blob.decode())
    assert entry[:4] == (len(entry) - 4).to_bytes(4, "big")
    assert entry[4:17] == (1).to_bytes(8, "big") + b"\x04args"
    committed = re.search(rb'"args":\{"bytes":27,"commit":"([0-9a-f]{64})"\}', lines[1])
    assert committed is not None
    commit = bytes.fromhex(committed[1].decode())
    bound = b"trionyx-audit/v1 payload\n" + ORIGIN + b"\n" + (1).to_bytes(8, "big") + commit
    data_key = AESGCM(bytes(range(32))).decrypt(entry[17:29], entry[29:77], bound)
    opened = AESGCM(data_key).decrypt(entry[77:89], entry[89:], bound)
    assert opened[32:] == b'{"to":"jonas@corp.example"}'
    assert sha256(b"trionyx-audit/v1 commit\n" + opened).digest() == commit
