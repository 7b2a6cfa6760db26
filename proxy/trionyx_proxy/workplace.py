"""A new working directory for an operator: keys, directories, and a configuration with every setting explained.

Never replaces a file. The launcher's private key belongs where agents and tool servers cannot read it.
"""

from __future__ import annotations

import os
from pathlib import Path

from trionyx_audit.keys import FileSigner, write_signer
from trionyx_audit.note import VerifierKey
from trionyx_proxy.errors import ConfigError, Problem
from trionyx_proxy.token import public_pem

TEMPLATE = """\
# Configuration of trionyx-proxy. Relative paths are relative to this file. Unknown settings are errors.
# Check it with: trionyx-proxy check --config {name}

[proxy]
state_directory = "state"              # keep it: the log replaces only part of it (see README.md)

[policy]
# bundle = "bundle"                    # a directory made by `trionyx-policy init`; without it, the shipped bundle
engine = "wasm"                        # or "opa": a supervised OPA server
# opa_command = "/usr/local/bin/opa"   # for "opa"; without it, PATH and the cache of `trionyx-policy opa install`
deadline_ms = 250                      # a decision that takes longer is a denial
memory_mb = 64

[audit]
directory = "audit"                    # one log per run; no tool may be able to write here
origin = "{origin}"                    # name of the log; the verifier key carries it
key = "audit.key"                      # auditors get audit.key.vkey beside it
deadline_ms = 1000                     # a record that takes longer ends the run

[runs]
launcher_key = "launcher.key"          # only `mint` needs it
launcher_public_key = "launcher.pub"
unregistered = "allow"                 # "refuse": serve no run without a token
floor = {{ integrity = "user", level = "public", readers = "*", categories = [] }}

[limits]
call_timeout_ms = 60000
max_result_bytes = 1048576
max_argument_bytes = 1048576
max_in_flight = 32

# One table per tool server. Its tools appear to the agent as ALIAS__TOOL, if the catalog knows them.
# [upstreams.files]
# command = ["/usr/local/bin/mcp-server-filesystem", "/srv/notes"]
# catalog = "filesystem"               # section of the policy's catalog; the alias, if absent
# env = {{ PATH = "/usr/bin:/bin" }}     # the whole environment: nothing is inherited
# cwd = "/srv/notes"
# start_timeout_ms = 10000

# People who answer what the policy leaves to a person. Without this table such calls are denied.
# [approvals]
# wait_ms = 30000                      # how long a call waits for an answer; the question stays open
# ttl_s = 3600                         # how long it may be answered, and the approval used
# approvers = ["dana"]                 # users whose answers count; the owner of the state directory, if absent
# elicitation = false                  # true: a person sees the dialogs of the agent's client, the agent cannot
"""


def create(directory: Path, *, origin: str, name: str = "config.toml") -> Path:
    """Write a working directory and return the path of its configuration.

    Args:
        directory: made if missing, mode 0700.
        origin: the logs' name, a schema-less URL such as `corp.example/trionyx`.
        name: file name of the configuration.

    Raises:
        ConfigError: a file is there already, or something cannot be written.
        KeyMaterialError: a key file is there already.
    """
    config = directory / name
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(TEMPLATE.format(name=name, origin=origin))
        for part in ("state", "audit"):
            (directory / part).mkdir(mode=0o700, exist_ok=True)
        audit = new_signer()
        write_signer(directory / "audit.key", audit)
        (directory / "audit.key.vkey").write_text(f"{VerifierKey(origin, audit.public)}\n")
        launcher = new_signer()
        write_signer(directory / "launcher.key", launcher)
        (directory / "launcher.pub").write_bytes(public_pem(launcher.public))
    except OSError as error:
        raise ConfigError((Problem(str(error.filename or directory), _strerror(error)),)) from error
    return config


def new_signer() -> FileSigner:
    """Make a new Ed25519 key from the operating system's randomness."""
    return FileSigner.from_seed(os.urandom(32))


def _strerror(error: OSError) -> str:
    return (error.strerror or "cannot be written").lower()
