"""`trionyx-demo`: play the story without and with the proxy, and show the difference.

Exit codes: 0 every expectation held; 1 one did not; 2 the demo could not be played; 128 + n signal n
was received.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from trionyx_agents.demo import verification
from trionyx_agents.demo.deeds import DEEDS
from trionyx_agents.demo.report import Outcome, as_json, as_text
from trionyx_agents.errors import AgentError, Interrupted
from trionyx_agents.interruption import Interruption

if TYPE_CHECKING:
    from trionyx_agents.demo.stage import Act

_CALL = re.compile(r"\(call ([0-9A-Z]{26})\)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with Interruption() as interruption, _directory(options.keep) as root:
            outcome = _play(root, options, interruption)
            kept = str(root) if options.keep else ""
            with interruption.breaking():
                if options.json:
                    print(json.dumps(as_json(outcome, kept=kept), ensure_ascii=False, indent=1), flush=True)
                else:
                    print(as_text(outcome, kept=kept), flush=True)
            return 0 if all(expectation.held for expectation in outcome.expectations()) else 1
    except Interrupted as interrupted:
        return 128 + interrupted.signal
    except AgentError as error:
        for problem in error.problems:
            print(f"trionyx-demo: {problem}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trionyx-demo", description="A theft, and the proxy that stops it.")
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('trionyx-proxy')}")
    parser.add_argument("--live", action="store_true", help="let the real model play; needs a key")
    parser.add_argument("--model", default="", help="the real model's name, with --live")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep everything in this new directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _play(root: Path, options: argparse.Namespace, interruption: Interruption) -> Outcome:
    # The runtime is an extra, and slow to load: `--help` needs neither.
    try:
        from trionyx_agents.demo import stage, story
        from trionyx_agents.demo.scripted_model import ScriptedModel
    except ModuleNotFoundError as error:
        if error.name != "claude_agent_sdk":
            raise
        raise AgentError("claude-agent-sdk is not installed: pip install 'trionyx-proxy[claude]'") from error

    def tell(text: str) -> None:
        if not options.json:
            print(text, flush=True)

    with ScriptedModel(story.script) as model:
        cast = stage.live(os.environ, options.model) if options.live else stage.scripted(model)
        tell("act 1: the agent on its own, with its tools …")
        without = stage.unprotected(root / "without", cast, interruption)
        tell("act 2: the same agent behind trionyx-proxy, and a person at a second terminal …\n")
        behind = stage.protected(root / "behind", root / "proxy", cast, interruption)
    with interruption.breaking():
        return _checked(root, options, without, behind)


def _checked(root: Path, options: argparse.Namespace, without: Act, behind: Act) -> Outcome:
    log, key = root / "proxy" / "audit" / behind.run, root / "proxy" / "audit.key.vkey"
    copy = root / "tampered" / behind.run
    segment, offset = verification.tampered_copy(log, copy)
    return Outcome(
        without=without,
        behind=behind,
        live=options.live,
        intact=verification.verify(log, key),
        tampered=verification.verify(copy, key),
        explained=_explained(log, key, behind),
        tampered_at=f"byte {offset} of {segment}",
        clear=tuple(map(str, verification.leaked(root / "proxy", behind.world.secret))),
    )


def _explained(log: Path, key: Path, behind: Act) -> verification.Check:
    for deed in DEEDS:
        answer = deed.answer(behind.events, behind.world)
        # A refusal ends with the proxy's id of the call.
        named = _CALL.search(answer.text) if deed.theft and answer is not None and answer.error else None
        if named is not None:
            return verification.explain(log, key, named.group(1))
    return verification.Check(2, ("nothing was stopped",))


@contextmanager
def _directory(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="trionyx-demo-") as root:
            yield Path(root)
        return
    try:
        keep.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise AgentError(f"--keep {keep}: {(error.strerror or 'cannot be made').lower()}") from error
    yield keep.resolve()


if __name__ == "__main__":
    sys.exit(main())
