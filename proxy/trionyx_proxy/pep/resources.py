"""Which files, pages and records hold what an untrusted run wrote; remembered across the runs of a tenant.

Knows names of resources, never their content. A name is all there is to go by: a resource that a server knows under
two names is two resources here. What is written without naming a resource, as a mail is, is known by digests of what
it says (`provenance.hearsay`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from trionyx_proxy.provenance import Hearsay
from trionyx_proxy.state import RunStore
from trionyx_proxy.taint.marks import MARK_BYTES, below, hearsay_mark

EVERYTHING = ""
"""The resource that stands for all that a section holds."""


@dataclass(frozen=True, slots=True)
class Named:
    """A resource by name.

    Args:
        name: in its one spelling, or EVERYTHING.
        is_path: what is below it belongs to it.
    """

    name: str
    is_path: bool


class ResourceTaint(Protocol):
    """What a ledger asks of `Resources`."""

    def taint(self, section: str, resources: Iterable[Named]) -> None:
        """Remember durably that resources hold untrusted data."""

    def is_tainted(self, section: str, resources: Iterable[Named]) -> bool:
        """Tell whether one of the resources holds untrusted data."""

    def tell(self, digests: Iterable[bytes]) -> None:
        """Remember durably what is written without naming a resource."""

    def hearsay(self) -> Hearsay:
        """Return what other runs wrote so."""

    def heard(self) -> Hearsay:
        """Return the same as far as it was looked up before."""


class Resources:
    """The tainted resources of one tenant, as one of its runs sees them.

    Args:
        store: keeps them.
        tenant: may be empty.
        run: ULID.
        key: secret of the state directory, for digests of what was written.

    """

    def __init__(self, store: RunStore, tenant: str, run: str, key: bytes) -> None:
        self._store = store
        self._tenant = tenant
        self._run = run
        self._mark = hearsay_mark(key)
        self._hearsay = Hearsay(key)
        self._last = 0

    def tell(self, digests: Iterable[bytes]) -> None:
        """Remember durably what an untrusted run writes without naming a resource; nothing of it if there is nothing.

        Raises:
            StateError: it cannot be remembered; whatever writes it must not be sent.
        """
        # Sorted, they tell nothing of the order of words.
        told = b"".join(sorted(digests))
        if told:
            self._store.heard.add(self._tenant, self._run, self._mark + told)

    def hearsay(self) -> Hearsay:
        """Return what other untrusted runs of the tenant wrote so, up to now.

        Raises:
            StateError: that cannot be found out.
        """
        for number, told in self._store.heard.since(self._tenant, self._run, self._last):
            self._last = max(self._last, number)
            if told is None:
                continue
            if told[:MARK_BYTES] == self._mark:
                self._hearsay.learn(told[MARK_BYTES:])
            else:
                # It was too much, or digests of another key, which recognise nothing: anything may have been written.
                self._hearsay.is_full = True
        return self._hearsay

    def heard(self) -> Hearsay:
        """Return the same without asking for more; enough for whoever wants digests."""
        return self._hearsay

    def taint(self, section: str, resources: Iterable[Named]) -> None:
        """Remember durably that resources hold untrusted data.

        Raises:
            StateError: it cannot be remembered; whatever writes them must not be sent.
        """
        for resource in resources:
            self._store.taint_resource(self._tenant, section, resource.name)
            if resource.is_path:
                for above in _above(resource.name):
                    self._store.taint_resource(self._tenant, section, below(above))

    def is_tainted(self, section: str, resources: Iterable[Named]) -> bool:
        """Tell whether one of the resources, something that it lies in, or something in it holds untrusted data.

        Raises:
            StateError: that cannot be found out.
        """
        return any(
            self._store.is_tainted(self._tenant, section, name)
            for resource in resources
            for name in _reaching(resource)
        )


def _reaching(resource: Named) -> Iterator[str]:
    yield resource.name
    if resource.is_path:
        yield below(resource.name)
        yield from _above(resource.name)


def _above(path: str) -> Iterator[str]:
    """Yield the directories that a path lies in, nearest first."""
    while path.strip("/"):
        path = path.rstrip("/").rpartition("/")[0] or "/"
        yield path
        if path == "/":
            return
