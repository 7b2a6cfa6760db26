"""`trionyx-audit keygen`: one Ed25519 key for the logs at and below one name."""

from __future__ import annotations

import os
from pathlib import Path

from trionyx_audit.cli.terminal import json_line, write_lines
from trionyx_audit.errors import KeyMaterialError
from trionyx_audit.keys import FileSigner, write_signer
from trionyx_audit.note import VerifierKey
from trionyx_audit.verdict import Exit


def run(name: str, out: Path, *, json: bool) -> Exit:
    """Write `out` (private, 0600) and `out`.vkey, print the verifier key; never replaces a file.

    Raises:
        KeyMaterialError: the name cannot be a key name, or a file exists or cannot be written.
    """
    signer = FileSigner.from_seed(os.urandom(32))
    vkey = str(VerifierKey(name, signer.public))
    public = out.with_name(out.name + ".vkey")
    if public.exists():
        raise KeyMaterialError(f"{public}: file exists")
    write_signer(out, signer)
    try:
        public.write_text(vkey + "\n")
    except OSError as error:
        raise KeyMaterialError(f"{public}: {(error.strerror or 'cannot be written').lower()}") from error
    write_lines([json_line({"vkey": vkey, "key": str(out), "public": str(public)}) if json else vkey])
    return Exit.HOLDS
