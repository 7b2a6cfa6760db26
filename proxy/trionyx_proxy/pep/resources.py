"""Which files, pages and records hold what an untrusted run wrote; remembered across the runs of a tenant.

Knows names of resources, never their content. A name is all there is to go by: a resource that a server knows under
two names is two resources here. What is written without naming a resource, as a mail is, is known by digests of what
it says (`provenance.hearsay`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trionyx_proxy.provenance import ANYTHING, Hearsay
from trionyx_proxy.state import RunStore

EVERYTHING = ""
"""The resource that stands for all that a section holds."""

_BELOW = "\0below\0"
_MARK_BYTES = 8


@dataclass(frozen=True, slots=True)
class Named:
    """A resource by name.

    Args:
        name: in its one spelling, or EVERYTHING.
        is_path: what is below it belongs to it.
    """

    name: str
    is_path: bool


class Resources:
    """The tainted resources of one tenant.

    Args:
        store: keeps them.
        tenant: may be empty.
        key: secret of the state directory, for digests of what was written.

    """

    def __init__(self, store: RunStore, tenant: str, key: bytes) -> None:
        self._store = store
        self._tenant = tenant
        self._mark = hashlib.blake2b(b"", key=key, digest_size=_MARK_BYTES).digest()
        self._hearsay = Hearsay(key)
        self._full: set[str] = set()
        self._last = 0

    def tell(self, section: str, digests: Iterable[bytes]) -> None:
        """Remember durably what an untrusted run writes without naming a resource; nothing of it if there is nothing.

        Raises:
            StateError: it cannot be remembered; whatever writes it must not be sent.
        """
        # Sorted, they tell nothing of the order of words.
        told = b"".join(sorted(digests))
        if told:
            self._store.add_hearsay(self._tenant, section, self._mark + told)

    def knows_all(self) -> bool:
        """Tell whether it is known what untrusted runs wrote; if not, whatever a tool returns may be theirs.

        Raises:
            StateError: that cannot be found out.
        """
        return self.hearsay(EVERYTHING) is not ANYTHING

    def hearsay(self, section: str) -> Hearsay:
        """Return what untrusted runs of the tenant wrote so, up to now, wherever: a mail may be read by many tools.

        Raises:
            StateError: that cannot be found out.
        """
        for number, told_to, told in self._store.hearsay(self._tenant, self._last):
            self._last = max(self._last, number)
            if told[:_MARK_BYTES] == self._mark:
                self._hearsay.learn(told[_MARK_BYTES:])
            else:
                # Digests of another key recognise nothing: then it is not known what was written, and may be anywhere.
                self._full.add(EVERYTHING if told else told_to)
        return ANYTHING if not self._full.isdisjoint((section, EVERYTHING)) else self._hearsay

    def taint(self, section: str, resources: Iterable[Named]) -> None:
        """Remember durably that resources hold untrusted data.

        Raises:
            StateError: it cannot be remembered; whatever writes them must not be sent.
        """
        for resource in resources:
            self._store.taint_resource(self._tenant, section, resource.name)
            if resource.is_path:
                for above in _above(resource.name):
                    self._store.taint_resource(self._tenant, section, _BELOW + above)

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
        yield _BELOW + resource.name
        yield from _above(resource.name)


def _above(path: str) -> Iterator[str]:
    """Yield the directories that a path lies in, nearest first."""
    while path.strip("/"):
        path = path.rstrip("/").rpartition("/")[0] or "/"
        yield path
        if path == "/":
            return
