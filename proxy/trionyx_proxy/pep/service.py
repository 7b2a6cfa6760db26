"""A run being served: everything opened in the order in which it can fail, and closed in reverse.

Nothing is offered to the agent before the policy is loaded, the log is owned and the opening record is durable.
It performs no call (`pep.driver`) and speaks no protocol (`pep.downstream`, `pep.upstream`).
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import structlog

from trionyx_audit.keys import load_signer
from trionyx_audit.log import Log
from trionyx_audit.reading import records
from trionyx_policies.bundle import Bundle, load_bundle
from trionyx_policies.errors import PolicyError
from trionyx_policies.point import EngineSettings, PolicyPoint
from trionyx_proxy.catalog import Catalog
from trionyx_proxy.config import Config
from trionyx_proxy.core.account import Identity, PolicyVersion, Prompt, RunState
from trionyx_proxy.core.event import PolicyReloaded
from trionyx_proxy.core.evidence import resume
from trionyx_proxy.core.label import Label
from trionyx_proxy.core.request import CallId
from trionyx_proxy.core.run import Run
from trionyx_proxy.errors import StateError, TokenError
from trionyx_proxy.pep import milestones, wire
from trionyx_proxy.pep.admission import Admission
from trionyx_proxy.pep.downstream import Downstream
from trionyx_proxy.pep.driver import Driver, Forwarding
from trionyx_proxy.pep.recorder import Recorder
from trionyx_proxy.pep.upstream import Launch, Upstream
from trionyx_proxy.state import RunStore
from trionyx_proxy.token import mint_ulid, verify_token

DRAIN_S = 5.0
"""Time that open calls get to end in a record when the agent's side closes."""

SAVE_EVERY_S = 0.2
"""How long the state file may lag behind the log; the log is what a restart believes."""
