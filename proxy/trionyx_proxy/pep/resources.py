"""Which files, pages and records hold what an untrusted run wrote; remembered across the runs of a tenant.

Knows names of resources, never their content. A name is all there is to go by: a resource that a server knows under
two names is two resources here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trionyx_proxy.state import RunStore

EVERYTHING = ""
"""The resource that stands for all that a section holds."""

_BELOW = "\0below\0"


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

    """

    def __init__(self, store: RunStore, tenant: str) -> None:
        self._store = store
        self._tenant = tenant

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
