"""What the proxy adds to a tool call: direct stdio, a bare relay, and the full proxy, interleaved in one run.

    python tests/benchmarks/latency.py [--calls 1000] [--round 50] [--engine wasm]

Each path has its own client, its own tool server and the same 1 KB call. Calls alternate between the paths in
rounds, so that a busy machine is busy for all of them. Prints p50, p95, ratios, and the proxy's budget per stage.
Every proxied call is decided by the shipped policy's rules and durably recorded twice.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from stages import stage_times

from trionyx_testing.workspace import Workspace

HERE = Path(__file__).resolve().parent
TOOL = [sys.executable, "-m", "trionyx_testing.toolserver"]
SUPPORT = {"PYTHONPATH": str(HERE.parent / "support"), "PATH": "/usr/bin:/bin"}
ARGUMENTS = {"text": "x" * 1_000}


class Client:
    """A blocking JSON-RPC client over a child's pipes: as little as possible besides what is measured."""

    def __init__(self, command: list[str], env: dict[str, str], tool: str) -> None:
        self._child = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._tool = tool
        self._id = 0
        self.request(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "bench", "version": "1"},
            },
        )
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(message).encode() + b"\n")
        self._child.stdin.flush()

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        assert self._child.stdout is not None
        self._id += 1
        self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        while True:
            answer: dict[str, Any] = json.loads(self._child.stdout.readline())
            if answer.get("id") == self._id:
                return answer

    def call(self) -> float:
        began = time.perf_counter()
        answer = self.request("tools/call", {"name": self._tool, "arguments": ARGUMENTS})
        took = time.perf_counter() - began
        if answer["result"].get("isError"):
            raise SystemExit(f"the call was refused: {answer['result']['content']}")
        return took * 1_000

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(10)


def percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100)[round(share * 100) - 1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--round", type=int, default=50)
    parser.add_argument("--engine", choices=("wasm", "opa"), default="wasm")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        workspace = Workspace.create(Path(directory), engine=options.engine)
        serve = [sys.executable, "-m", "trionyx_proxy.cli", "serve", "--config", str(workspace.config)]
        clients = {
            "direct": Client(TOOL, SUPPORT, "echo"),
            "bare relay": Client([sys.executable, str(HERE / "bare_relay.py"), *TOOL], SUPPORT, "echo"),
            "full proxy": Client(serve, {**SUPPORT, "TRIONYX_LOG_LEVEL": "warning"}, "test__echo"),
        }
        took: dict[str, list[float]] = {name: [] for name in clients}
        for client in clients.values():
            for _ in range(20):
                client.call()
        while len(took["direct"]) < options.calls:
            for name, client in clients.items():
                took[name] += [client.call() for _ in range(options.round)]
        for client in clients.values():
            client.close()
        report(took)
        stages(workspace)


def report(took: dict[str, list[float]]) -> None:
    direct = percentile(took["direct"], 0.5)
    relay_adds = percentile(took["bare relay"], 0.5) - direct
    print(f"{'path':12} {'calls':>6} {'p50 ms':>8} {'p95 ms':>8} {'added p50':>10} {'of relay':>9}")
    for name, values in took.items():
        p50 = percentile(values, 0.5)
        ratio = (p50 - direct) / relay_adds if name != "direct" else 0.0
        print(
            f"{name:12} {len(values):6} {p50:8.2f} {percentile(values, 0.95):8.2f} {p50 - direct:10.2f} {ratio:8.2f}x"
        )


def stages(workspace: Workspace) -> None:
    """Print how long each stage of a call takes by itself, in this process."""
    for name, microseconds in stage_times(workspace, ARGUMENTS).items():
        print(f"stage {name:10} {microseconds:8.0f} µs")


if __name__ == "__main__":
    main()
