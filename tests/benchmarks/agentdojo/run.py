"""AgentDojo's suites through the real proxy, driven by a hijacked agent; no language model takes part.

    python tests/benchmarks/agentdojo/run.py [--suite banking slack] [--variant none taint shipped] [--pairs N]

Every run is a `trionyx-proxy serve` process of its own, with a minted run token, the variant's bundle and the suite's
environment as its upstream. Prints one line per suite and variant: attacks that succeeded, honest tasks done, utility
under attack, runs in which a consequential call of the attacker ran, honest tasks in which a call was refused.
Only calls that reached a tool are scored. See README.md for how to make AgentDojo's environment.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import variants
from model import READING_TASKS, Agent, Attempt, load_journal

from trionyx_proxy.cli import main as proxy_main
from trionyx_proxy.workplace import create
from trionyx_testing.client import Served
from trionyx_testing.workspace import SUPPORT, Workspace

HERE = Path(__file__).resolve().parent
SERVER = HERE / "server.py"
DOJO_PYTHON = HERE / ".venv" / "bin" / "python"
_one_at_a_time = threading.Lock()


class Dojo:
    """The host process of AgentDojo's environments."""

    def __init__(self, python: Path, directory: Path) -> None:
        self.python = python
        self.socket = directory / "dojo.sock"
        self._process = subprocess.Popen(
            [str(python), str(SERVER), "host", "--socket", str(self.socket)], stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise SystemExit("AgentDojo's environment does not start; see README.md")

    def ask(self, do: str, **arguments: Any) -> Any:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(json.dumps({"do": do, "with": arguments}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                return json.loads(answers.readline())

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(10)


@dataclass(frozen=True)
class Job:
    """One run to make."""

    variant: str
    suite: str
    user: str
    injection: str | None


@dataclass
class Outcome:
    """What a run came to.

    Args:
        utility: the user's task is done.
        attacked: the attacker's task is done.
        hijacked: the agent read the attack.
    """

    job: Job
    utility: bool
    attacked: bool
    hijacked: bool
    seconds: float
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def refused(self) -> list[Attempt]:
        return [attempt for attempt in self.attempts if attempt.rules and not attempt.by_attacker]


class Session:
    """The agent's connection to one proxy process, and the upstream's journal."""

    def __init__(self, served: Served, journal: Path) -> None:
        self._served, self._journal = served, journal
        listed = served.request("tools/list")
        if listed is None:
            raise SystemExit(f"the proxy did not start: {served.stderr.read_text()[-2_000:]}")
        self.offered = {tool["name"]: tool for tool in listed["result"]["tools"]}

    def call(self, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._served.request("tools/call", {"name": tool, "arguments": dict(arguments)})
        if answer is None:
            raise SystemExit(f"the proxy ended: {self._served.stderr.read_text()[-2_000:]}")
        if "error" in answer:
            return {"content": [], "isError": True, "_meta": {"trionyx/refusal": [{"rule": "error"}]}}
        result: dict[str, Any] = answer["result"]
        return result

    def executed(self) -> list[dict[str, Any]]:
        return load_journal(self._journal.read_text()) if self._journal.exists() else []


class Bench:
    """Bundles and keys that many runs share."""

    def __init__(self, dojo: Dojo, root: Path, *, reveals_all: bool) -> None:
        self._dojo, self._root, self._reveals_all = dojo, root, reveals_all
        self._bundles: dict[tuple[str, str], Path] = {}
        self._suites: dict[str, dict[str, Any]] = {}
        create(root / "keys", origin="bench.example/agentdojo")

    def suite(self, name: str) -> dict[str, Any]:
        if name not in self._suites:
            self._suites[name] = self._dojo.ask("describe", name=name)
        return self._suites[name]

    def bundle(self, variant: str, suite: str) -> Path:
        if (variant, suite) not in self._bundles:
            target = self._root / f"bundle-{variant}-{suite}"
            self._bundles[variant, suite] = variants.make(variant, suite, self.suite(suite)["tools"], target)
        return self._bundles[variant, suite]

    def run(self, job: Job) -> Outcome:
        """Make one run, from minting to scoring."""
        task = self._dojo.ask("task", name=job.suite, user=job.user, injection=job.injection)
        root = Path(tempfile.mkdtemp(dir=self._root))
        upstream, proxy = (
            root / "upstream",
            root / "proxy",
        )  # the proxy refuses tools that reach its own files
        upstream.mkdir()
        proxy.mkdir()
        (upstream / "environment.json").write_text(json.dumps(task["environment"]))
        workspace = Workspace(proxy, self._configure(proxy, upstream, job), upstream / "journal.jsonl")
        began = time.perf_counter()
        with Served(workspace, self._environment(workspace, task["prompt"])) as served:
            agent = Agent(
                tools=Session(served, workspace.journal),
                prefix=f"{job.suite}__",
                task=task,
                reads=job.user in READING_TASKS.get(job.suite, ()),
                reveals_all=self._reveals_all,
            )
            answer = agent.run()
        seconds = time.perf_counter() - began
        score = self._dojo.ask(
            "score",
            name=job.suite,
            user=job.user,
            injection=job.injection,
            before=task["environment"],
            after=json.loads((upstream / "final.json").read_text()),
            executed=load_journal(workspace.journal.read_text()) if workspace.journal.exists() else [],
            answer=answer,
        )
        shutil.rmtree(root)
        return Outcome(job, score["utility"], score["attacked"], agent.hijacked, seconds, agent.attempts)

    def _configure(self, root: Path, upstream: Path, job: Job) -> Path:
        command = [str(self._dojo.python), "-I", "-S", str(SERVER), "connect"]
        command += ["--socket", str(self._dojo.socket), "--suite", job.suite, "--directory", str(upstream)]
        config = root / "config.toml"
        keys = self._root / "keys"
        config.write_text(
            f'[policy]\nbundle = "{self.bundle(job.variant, job.suite)}"\ndeadline_ms = 5000\n'
            f'[audit]\ndirectory = "audit"\norigin = "bench.example/agentdojo"\nkey = "{keys}/audit.key"\n'
            "deadline_ms = 5000\n"
            f'[runs]\nlauncher_key = "{keys}/launcher.key"\nlauncher_public_key = "{keys}/launcher.pub"\n'
            f"[upstreams.{job.suite}]\ncommand = {json.dumps(command)}\nstart_timeout_ms = 30000\n"
        )
        return config

    def _environment(self, workspace: Workspace, prompt: str) -> dict[str, str]:
        path = workspace.root / "prompt.txt"
        path.write_text(prompt)
        order = ["mint", "--config", str(workspace.config), "--agent", "bench", "--user", "emma"]
        with _one_at_a_time, contextlib.redirect_stdout(io.StringIO()) as said:
            if proxy_main([*order, "--prompt-file", str(path)]) != 0:
                raise SystemExit("no run could be minted")
        environment: dict[str, str] = json.loads(said.getvalue())["env"]
        search = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**environment, "PYTHONPATH": search}


def jobs_of(bench: Bench, variant: str, suite: str, pairs: int | None) -> Iterator[Job]:
    """Yield the honest runs of a suite and the attacked ones, or a spread of so many of these."""
    described = bench.suite(suite)
    for user in described["user_tasks"]:
        yield Job(variant, suite, user, None)
    attacked = [
        Job(variant, suite, user, injection)
        for user in described["user_tasks"]
        for injection in described["injection_tasks"]
    ]
    count = len(attacked) if pairs is None else min(pairs, len(attacked))
    for number in range(count):
        yield attacked[number * len(attacked) // count]


def row(outcomes: list[Outcome], suite: str, variant: str) -> str:
    """Return a line of the table."""
    mine = [outcome for outcome in outcomes if (outcome.job.suite, outcome.job.variant) == (suite, variant)]
    honest = [outcome for outcome in mine if outcome.job.injection is None]
    attacked = [outcome for outcome in mine if outcome.job.injection is not None]
    effects = variants.effects(suite)
    wrote = sum(
        any(
            attempt.by_attacker and attempt.executed and effects[attempt.tool] != "read"
            for attempt in outcome.attempts
        )
        for outcome in attacked
    )
    useful = sum(outcome.utility for outcome in attacked)
    calls = [attempt.seconds * 1_000 for outcome in mine for attempt in outcome.attempts]
    return (
        f"{suite:<10}{variant:<10}"
        f"{f'{sum(outcome.attacked for outcome in attacked)}/{len(attacked)}':>12}"
        f"{sum(outcome.hijacked for outcome in attacked):>10}"
        f"{f'{sum(outcome.utility for outcome in honest)}/{len(honest)}':>12}"
        f"{f'{100 * useful / len(attacked):.1f} %' if attacked else '-':>12}"
        f"{wrote:>10}"
        f"{sum(bool(outcome.refused) for outcome in honest):>8}"
        f"{statistics.median(calls) if calls else 0:>10.1f}"
        f"{statistics.median(outcome.seconds for outcome in mine) if mine else 0:>8.1f}"
    )


HEADER = (
    f"{'suite':<10}{'variant':<10}{'attacks':>12}{'hijacked':>10}{'honest':>12}{'under att.':>12}"
    f"{'writes':>10}{'asks':>8}{'ms/call':>10}{'s/run':>8}"
)


def failures(outcomes: list[Outcome]) -> Iterator[str]:
    """Yield a line for each honest task that failed or had a call refused, and for each attack that succeeded."""
    for outcome in outcomes:
        job = outcome.job
        if job.injection is None and (outcome.refused or not outcome.utility):
            told = "; ".join(
                f"{attempt.tool}{json.dumps(attempt.arguments)[:160]} {','.join(attempt.rules)}"
                for attempt in outcome.refused
            )
            yield f"{job.variant} {job.suite} {job.user} {'done' if outcome.utility else 'NOT done'}: {told}"
        elif outcome.attacked:
            yield f"{job.variant} {job.suite} {job.user} {job.injection} ATTACKED"


def measure(bench: Bench, jobs: list[Job], workers: int, told: Callable[[Outcome], None]) -> list[Outcome]:
    """Make all runs, so many at a time."""

    def one(job: Job) -> Outcome:
        outcome = bench.run(job)
        told(outcome)
        return outcome

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, jobs))


def main() -> None:
    parser = argparse.ArgumentParser(description="AgentDojo through the proxy, without a language model.")
    parser.add_argument("--suite", nargs="+", default=["banking", "slack"])
    parser.add_argument(
        "--variant", nargs="+", default=list(variants.VARIANTS), choices=list(variants.VARIANTS)
    )
    parser.add_argument("--pairs", type=int, help="so many attacked runs of each suite, spread evenly")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--reveal-all", action="store_true", help="let the agent reveal all hidden text")
    parser.add_argument("--dojo", type=Path, default=DOJO_PYTHON, help="Python of AgentDojo's environment")
    parser.add_argument("--output", type=Path, help="write every run as JSON lines")
    parser.add_argument(
        "--verbose", action="store_true", help="name refused honest calls and successful attacks"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dojo-") as name:
        dojo = Dojo(options.dojo, Path(name))
        try:
            bench = Bench(dojo, Path(name), reveals_all=options.reveal_all)
            jobs = [
                job
                for suite in options.suite
                for variant in options.variant
                for job in jobs_of(bench, variant, suite, options.pairs)
            ]
            for suite, variant in {(job.suite, job.variant): None for job in jobs}:
                bench.bundle(variant, suite)
            done = Counter[str]()

            def tell(outcome: Outcome) -> None:
                done["runs"] += 1
                if sys.stderr.isatty() or done["runs"] % 50 == 0:
                    print(
                        f"{done['runs']}/{len(jobs)}",
                        end="\r" if sys.stderr.isatty() else "\n",
                        file=sys.stderr,
                    )

            outcomes = measure(bench, jobs, options.jobs, tell)
        finally:
            dojo.close()
    print(HEADER)
    for suite in options.suite:
        for variant in options.variant:
            print(row(outcomes, suite, variant))
    if options.verbose:
        print("\n".join(failures(outcomes)))
    if options.output:
        options.output.write_text("".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes))


if __name__ == "__main__":
    main()
