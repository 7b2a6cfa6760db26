"""A run's memory for tests that need no disk: an empty ledger, and taint of resources kept in a set."""

from __future__ import annotations

from collections.abc import Iterable

from trionyx_proxy.pep.ledger import Ledger
from trionyx_proxy.pep.resources import Named
from trionyx_proxy.provenance import Handles, Hearsay, Index, prompt_words

KEY = b"k" * 32


class TaintedNames:
    """Taint by whole names; what is below a path is not known here. There is no other run."""

    def __init__(self) -> None:
        self.names: set[tuple[str, str]] = set()
        self.told: set[bytes] = set()
        self._heard = Hearsay(KEY)

    def taint(self, section: str, resources: Iterable[Named]) -> None:
        self.names |= {(section, resource.name) for resource in resources}

    def is_tainted(self, section: str, resources: Iterable[Named]) -> bool:
        return any((section, resource.name) in self.names for resource in resources)

    def tell(self, digests: Iterable[bytes]) -> None:
        self.told |= set(digests)

    def hearsay(self) -> Hearsay:
        return self._heard

    def heard(self) -> Hearsay:
        return self._heard


def ledger(prompt: str = "", resources: TaintedNames | None = None) -> Ledger:
    return Ledger(Index(prompt_words(prompt, KEY), KEY), Handles(), resources or TaintedNames())
