"""Shared parts of the audit tests: a fixed key, fast directories, small logs."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trionyx_audit.canonical import JSON, canonicalize
from trionyx_audit.checkpoint import TrustedKey
from trionyx_audit.keys import FileSigner
from trionyx_audit.log import Draft, Log
from trionyx_testing.parts import need

ORIGIN = "corp.example/trionyx/01JTEST"
GO = Path(__file__).parent / "go"
_MEMORY = Path("/dev/shm")


class StoppedClock:
    """A clock that a test moves; each look at the wall moves it one microsecond."""

    def __init__(self) -> None:
        self.wall = 1_790_000_000_000_000_000
        self.monotonic = 0

    def wall_ns(self) -> int:
        self.wall += 1_000
        return self.wall

    def monotonic_ns(self) -> int:
        return self.monotonic


@pytest.fixture(scope="session")
def origin() -> str:
    return ORIGIN


@pytest.fixture(scope="session")
def signer() -> FileSigner:
    return FileSigner.from_seed(bytes(range(32)))


@pytest.fixture(scope="session")
def trusted(signer: FileSigner) -> TrustedKey:
    return TrustedKey(signer.public, "corp.example/trionyx")


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty directory in memory where there is one: these tests are not about the disk."""
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def draft() -> Callable[..., Draft]:
    def make(
        type: str = "call.denied", /, payloads: dict[str, bytes] | None = None, **members: JSON
    ) -> Draft:
        return Draft(type, canonicalize(dict(members)), payloads or {})

    return make


@pytest.fixture
def open_log(signer: FileSigner, clock: StoppedClock) -> Callable[..., Log]:
    def open_(directory: Path, **settings: object) -> Log:
        defaults: dict[str, object] = {"signer": signer, "origin": ORIGIN, "clock": clock}
        return Log.open(directory, **(defaults | settings))  # type: ignore[arg-type]  # settings of any test

    return open_


@pytest.fixture
def ten(place: Path, open_log: Callable[..., Log], draft: Callable[..., Draft]) -> Path:
    """A closed log of ten records: three whole calls, one denied, one in doubt, one record without a call."""
    directory = place / "ten"
    with open_log(directory) as log:
        for number in range(3):
            log.submit(draft("call.intent", call=f"c{number}", run="r", payloads={"args": b'{"to":"x"}'}))
            log.submit(
                draft("call.outcome", call=f"c{number}", run="r", payloads={"result": b"\xff\x1b[31m"})
            )
        log.submit(draft("call.denied", call="d0", run="r", rules=["FLOW-001"]))
        log.submit(draft("call.intent", call="c9", run="s", tool="files__read"))
        log.submit(draft("policy.load", digest="ab" * 32)).result()
    return directory


@pytest.fixture(scope="session")
def go_module() -> Callable[[str, str, str], Path]:
    """Return the directory of a public Go module, pinned by version and content hash."""

    def fetch(module: str, version: str, content: str) -> Path:
        command = [str(need("go")), "mod", "download", "-json", f"{module}@{version}"]
        found = json.loads(subprocess.run(command, cwd=GO, capture_output=True, check=True).stdout)
        assert found["Sum"] == content
        return Path(found["Dir"])

    return fetch


@pytest.fixture(scope="session")
def auditcheck(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run the Go program beside these tests and return what it prints; it must succeed."""
    binary = tmp_path_factory.mktemp("go") / "auditcheck"
    subprocess.run(
        [str(need("go")), "build", "-o", str(binary), "."], cwd=GO, check=True, capture_output=True
    )

    def run(*arguments: str) -> str:
        done = subprocess.run([str(binary), *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
