"""The configuration file: read strictly, every problem reported at once, nothing started from a bad one."""

from trionyx_proxy.config.disk import check_files, resolve_command
from trionyx_proxy.config.settings import (
    ApprovalSettings,
    AuditSettings,
    Config,
    Engine,
    LimitSettings,
    PolicySettings,
    RunSettings,
    Unregistered,
    UpstreamSettings,
    load,
)

__all__ = [
    "ApprovalSettings",
    "AuditSettings",
    "Config",
    "Engine",
    "LimitSettings",
    "PolicySettings",
    "RunSettings",
    "Unregistered",
    "UpstreamSettings",
    "check_files",
    "load",
    "resolve_command",
]
