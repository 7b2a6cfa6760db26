"""Who may answer, by the operating system's account of who is who: a name that nobody can simply claim."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from trionyx_proxy.config import ApprovalSettings
from trionyx_proxy.errors import StateError


def operator() -> str:
    """Return the name of the user who runs this process."""
    return _name(os.getuid())


def approvers(settings: ApprovalSettings | None, directory: Path) -> frozenset[str]:
    """Return the names of those whose answers count.

    Args:
        settings: names them, or leaves it to the owner of the state directory, as it is without settings.
        directory: the state directory, which exists.

    Raises:
        StateError: the directory cannot be looked at.
    """
    if settings is not None and settings.approvers:
        return frozenset(settings.approvers)
    try:
        return frozenset({_name(directory.stat().st_uid)})
    except OSError as error:
        raise StateError(f"the state directory {directory} cannot be looked at") from error


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
