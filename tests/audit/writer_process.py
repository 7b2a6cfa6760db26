"""A writer to be killed or starved: `python writer_process.py DIRECTORY COUNT`; prints each acknowledged number.

Every record carries a payload; the log rotates its segments and publishes often, so that each kind of system call
happens often. A number is printed, unbuffered, only after its record was acknowledged.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from trionyx_audit.canonical import canonicalize
from trionyx_audit.errors import AuditError
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log


def main(directory: Path, count: int) -> int:
    signer = FileSigner.from_seed(bytes(range(32)))
    try:
        log = Log.open(
            directory,
            signer=signer,
            origin="corp.example/trionyx/killed",
            checkpoint_every=3,
            segment_bytes=1500,
        )
        for number in range(count):
            draft = Draft("call.denied", canonicalize({"n": number}), {"args": b"x" * 50})
            log.submit(draft).result()
            os.write(1, b"%d\n" % number)
        log.close()
    except AuditError as error:
        os.write(2, f"{error}\n".encode())
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
