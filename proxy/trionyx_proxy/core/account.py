"""Who a run is, what its user asked for, and what it has used so far.

Values only. Labels and use are what survives a process: `evidence.resume` rebuilds them from the log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from trionyx_proxy.core.label import BOTTOM, Label
from trionyx_proxy.core.request import CallId, Request

KEPT_FINGERPRINTS: Final = 256
"""Distinct calls whose repetitions are counted; a loop is shorter, and a run's memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The launcher-minted identity that label and budgets belong to.

    Args:
        run: run id; one log per run bears it.
        tenant: may be empty.
        registered: whether a valid run token vouches for all of this.
        key: secret of the run, 16 to 64 bytes, derived from the token and never recorded: it blinds the
            fingerprints of calls, so that a reader of the log cannot guess arguments by trying.
    """

    run: str
    agent: str
    user: str
    tenant: str
    registered: bool
    key: bytes = field(repr=False)

    def fingerprint(self, request: Request) -> str:
        """Give the keyed digest of tool and arguments; equal for equal calls of this run, 32 hex digits."""
        digest = hashlib.blake2b(key=self.key, digest_size=16, person=b"trionyx call/v1")
        digest.update(request.tool.id.encode() + b"\0" + request.arguments)
        return digest.hexdigest()

    def binding(self, request: Request, policy: PolicyVersion, rules: Iterable[str], expires_ms: int) -> str:
        """Give the keyed digest of what an approval holds for, 64 hex digits; in other circumstances it differs.

        Args:
            request: the call; its identity and arrival are not part of it, so that a repeated call can match.
            policy: the policy that asked.
            rules: ids of the rules that asked, in any order.
            expires_ms: Unix milliseconds from which the approval does not count.
        """
        bound = {
            "agent": self.agent,
            "args_sha256": hashlib.sha256(request.arguments).hexdigest(),
            "descriptor_sha256": request.tool.descriptor_sha256,
            "expires_ms": expires_ms,
            "policy": [policy.revision, policy.digest],
            "rules": sorted(rules),
            "run": self.run,
            "tenant": self.tenant,
            "tool": request.tool.id,
            "user": self.user,
        }
        # Keyed like the fingerprint: records and state file hold it, and arguments must not be guessed from it.
        digest = hashlib.blake2b(key=self.key, digest_size=32, person=b"trionyx appr/v1")
        digest.update(orjson.dumps(bound, option=orjson.OPT_SORT_KEYS))
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class PromptWords:
    """The words of a registered prompt as keyed digests of 8 bytes; without the run's key they say nothing.

    Args:
        tokens: of its words, in order.
        values: of the typed values that it names.
    """

    tokens: tuple[bytes, ...] = ()
    values: frozenset[bytes] = frozenset()

    def to_json(self) -> dict[str, str]:
        """Give the JSON form: all digests of a kind in one base64 text."""
        return {
            "tokens": base64.b64encode(b"".join(self.tokens)).decode(),
            "values": base64.b64encode(b"".join(sorted(self.values))).decode(),
        }

    @classmethod
    def from_json(cls, value: object) -> PromptWords:
        """Read the JSON form; whatever is not exactly that holds no words, which only takes rights away."""
        match value:
            case {"tokens": str(tokens), "values": str(values), **others} if not others:
                try:
                    return cls(tuple(_digests(tokens)), frozenset(_digests(values)))
                except ValueError:
                    return cls()
        return cls()


def _digests(text: str) -> list[bytes]:
    data = base64.b64decode(text, validate=True)
    if len(data) % 8:
        raise ValueError("not a row of digests")
    return [data[start : start + 8] for start in range(0, len(data), 8)]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the edge found in the prompt that the launcher registered; never the prompt itself.

    Args:
        sha256: hex digest of the prompt, or "".
        registered: false if there is none; the collections are then empty.
        emails, hosts, paths: identifiers that occur in it, normalised and sorted.
        words: what of it can be asked for by whoever knows the run's key.
        implies: effects that the words imply, by the lists of the policy in force; sorted.
    """

    sha256: str = ""
    registered: bool = False
    emails: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    words: PromptWords = PromptWords()
    implies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """Which policy is in force. Revisions only rise."""

    revision: int
    digest: str


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How often each of the most recent distinct calls occurred, the longest unused first."""

    counts: Mapping[str, int] = field(default_factory=dict)

    def of(self, fingerprint: str) -> int:
        """Give the number of occurrences, 0 for an unknown or forgotten fingerprint."""
        return self.counts.get(fingerprint, 0)

    def add(self, fingerprint: str) -> Tally:
        """Count one more occurrence, forgetting the longest unused fingerprint if there are too many."""
        counts = dict(self.counts)
        counts[fingerprint] = counts.pop(fingerprint, 0) + 1
        if len(counts) > KEPT_FINGERPRINTS:
            del counts[next(iter(counts))]
        return Tally(counts)

    # Order decides what is forgotten next, so two tallies are equal only in the same order.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tally) and tuple(self.counts.items()) == tuple(other.counts.items())

    def __hash__(self) -> int:
        return hash(tuple(self.counts.items()))


@dataclass(frozen=True, slots=True)
class Usage:
    """Counters of a run, each a function of its records alone.

    Args:
        calls: calls that have a record, rejected messages included.
        denied: those of them that ended in `call.denied`.
        by_effect: calls with an intent, per effect of the tool; sorted by effect.
        repeats: occurrences per fingerprint of a call; rejected messages have none.
    """

    calls: int = 0
    denied: int = 0
    by_effect: tuple[tuple[str, int], ...] = ()
    repeats: Tally = field(default_factory=Tally)

    def with_intent(self, fingerprint: str, effect: str) -> Usage:
        """Count a call by its first intent, whether or not it is forwarded in the end."""
        counts = dict(self.by_effect)
        counts[effect] = counts.get(effect, 0) + 1
        return Usage(
            self.calls + 1, self.denied, tuple(sorted(counts.items())), self.repeats.add(fingerprint)
        )

    def with_denial(self, fingerprint: str, *, intended: bool) -> Usage:
        """Count a denial, and the call with it unless it was counted by an intent.

        Args:
            fingerprint: empty for a rejected message, which repeats nothing.
            intended: the call has an intent.
        """
        if intended:
            return replace(self, denied=self.denied + 1)
        repeats = self.repeats.add(fingerprint) if fingerprint else self.repeats
        return Usage(self.calls + 1, self.denied + 1, self.by_effect, repeats)


@dataclass(frozen=True, slots=True)
class RunState:
    """What a later process resumes a run with.

    Args:
        label: join of all that may have been delivered; at least the configured floor.
        dangling: calls with an intent and no end: their effect is in doubt. In order of their intents.
        spent: ids of the approvals that intents were released under.
    """

    label: Label = BOTTOM
    usage: Usage = field(default_factory=Usage)
    dangling: tuple[CallId, ...] = ()
    spent: frozenset[str] = frozenset()
