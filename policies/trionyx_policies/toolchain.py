"""The OPA executable, for authors and for the `opa` engine: found, checked, asked. Decides no calls."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from trionyx_policies.errors import EngineError

PINNED: Final = "1.22.0"
OLDEST: Final = (1, 21, 3)  # earlier servers accept unsigned bundles where a signature is asked for
CACHE: Final = Path.home() / ".cache" / "trionyx" / "bin"

_VERSION = re.compile(r"^Version: (\d+)\.(\d+)\.(\d+)\s*$", re.MULTILINE)


def find_opa(command: Path | None = None) -> Path:
    """Locate an OPA executable of a usable version.

    Args:
        command: where to look; None means `$TRIONYX_OPA`, then PATH, then the cache of `opa install`.

    Raises:
        EngineError: there is none, or it is too old.
    """
    path = command or _search()
    version = opa_version(path)
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise EngineError(f"{path}: opa {'.'.join(map(str, version))} is older than {oldest}")
    return path


def opa_version(path: Path) -> tuple[int, int, int]:
    """Ask an executable for its version.

    Raises:
        EngineError: it cannot be run or is not OPA.
    """
    done = run(path, "version", cwd=None)
    found = _VERSION.search(done.stdout)
    if done.returncode != 0 or found is None:
        raise EngineError(f"{path}: does not answer like opa")
    major, minor, patch = found.groups()
    return int(major), int(minor), int(patch)


def run(path: Path, *arguments: str, cwd: Path | None) -> subprocess.CompletedProcess[str]:
    """Run OPA to its end, in an environment of its own, for at most a minute.

    Raises:
        EngineError: it cannot be started or does not end.
    """
    try:
        return subprocess.run(
            [str(path), *arguments],
            cwd=cwd,
            env={"HOME": "/nonexistent", "PATH": "/nonexistent"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except OSError as error:
        raise EngineError(f"{path}: cannot be started ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise EngineError(f"{path}: does not end") from None


def _search() -> Path:
    override = os.environ.get("TRIONYX_OPA")
    if override:
        return Path(override)
    on_path = shutil.which("opa")
    if on_path:
        return Path(on_path)
    cached = CACHE / "opa"
    if cached.is_file():
        return cached
    raise EngineError(
        "no opa executable; run trionyx-policy opa install, or name one with --opa or TRIONYX_OPA "
        "(for the proxy: policy.opa_command)"
    )


def opa_archive(sources: Mapping[str, bytes], data: bytes, *, revision: str) -> bytes:
    """Pack a bundle in OPA's own format; the same members always give the same bytes.

    Args:
        sources: Rego text by path.
        data: JSON text of the data document.
        revision: what OPA names in the provenance of its answers.
    """
    manifest = {"revision": revision, "roots": ["trionyx"], "rego_version": 1}
    members = {".manifest": json.dumps(manifest).encode(), "data.json": data, **sources}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            archive.addfile(member, io.BytesIO(members[name]))
    return gzip.compress(packed.getvalue(), mtime=0)
