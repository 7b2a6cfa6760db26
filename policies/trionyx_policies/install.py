"""Puts the pinned OPA in place, built from its module by the Go toolchain of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from trionyx_policies.errors import EngineError
from trionyx_policies.toolchain import CACHE, PINNED, opa_version

_MODULE: Final = "github.com/open-policy-agent/opa"
_LIMIT_S: Final = 1800


def install_opa(directory: Path = CACHE) -> Path:
    """Install the pinned OPA, unless it is there.

    The module's bytes are checked by the Go toolchain against its checksum database.

    Raises:
        EngineError: there is no Go toolchain, it failed, or it made another version.
    """
    target = directory / "opa"
    if target.is_file() and _is_pinned(target):
        return target
    go = shutil.which("go")
    if go is None:
        raise EngineError(
            f"no go toolchain found; install Go and run this again, or put an opa {PINNED} executable on PATH "
            "(or name it in TRIONYX_OPA)"
        )
    directory.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [go, "install", f"{_MODULE}@v{PINNED}"],
            env={**os.environ, "GOBIN": str(directory), "CGO_ENABLED": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"{go}: does not end within {_LIMIT_S} s") from None
    except OSError as error:
        raise EngineError(f"{go}: cannot be started ({error.strerror})") from None
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise EngineError(f"go install failed: {last}")
    if not _is_pinned(target):
        raise EngineError(f"{target}: is not opa {PINNED}")
    return target


def _is_pinned(target: Path) -> bool:
    return ".".join(map(str, opa_version(target))) == PINNED
