"""The command `trionyx-audit`: nothing but arguments, printing and exit codes."""

from trionyx_audit.cli.parser import main

__all__ = ["main"]
