"""Becomes the OPA server: sets limits, ties its life to its parent's, and replaces itself.

Run as a file by the interpreter, isolated, before anything of ours is imported. It is not imported by others.
`argv`: parent's process id, bytes of data memory, then the command to become.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 1 << 20


def main(argv: list[str]) -> None:
    """Apply limits and become the command."""
    parent, memory = int(argv[1]), int(argv[2])
    for limit, value in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _LOG_BYTES),
        (resource.RLIMIT_NOFILE, 256),
    ):
        _, hard = resource.getrlimit(limit)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (ceiling, ceiling))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent ended before the line above took effect
        sys.exit(1)
    os.environ.pop("LC_CTYPE", None)  # this interpreter's own addition
    os.execv(argv[3], argv[3:])  # noqa: S606 - no shell, an absolute path chosen by the operator


if __name__ == "__main__":
    main(sys.argv)
