"""Run tokens: the launcher's signed word on who a run is, and where its label starts.

One algorithm, one header, one reading. A token is a bearer credential for its run and nothing else; it
carries no prompt text, only the prompt's digest. Source: RFC 7519, RFC 8037, RFC 8725 (best practices).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from trionyx_audit.errors import KeyMaterialError
from trionyx_audit.keys import Signer, check_public_key
from trionyx_proxy.arguments import JSON, Limits, canonical, parse
from trionyx_proxy.core.label import TOP, Label, parse_label
from trionyx_proxy.errors import ArgumentError, TokenError

ISSUER = "trionyx-launcher"
AUDIENCE = "trionyx-proxy"
MAX_LIFETIME_S = 365 * 24 * 3600
MAX_SKEW_S = 60
"""How far ahead the launcher's clock may be."""

MAX_TOKEN_CHARS = 64 << 10
MAX_NAME_CHARS = 128
MAX_TOOLS = 256
MAX_DEPTH = 16
"""Generations of child runs that a token can state; the policy's data bounds them further."""

_ALGORITHM = "EdDSA"
# RFC 8725 section 3.11: the type keeps tokens of any other kind from passing for one of these.
_HEADER = urlsafe_b64encode(b'{"alg":"EdDSA","typ":"trionyx-run+jwt"}').rstrip(b"=").decode()
_SEGMENTS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_CLAIMS = frozenset({"iss", "aud", "jti", "agent", "user", "tenant", "prompt", "floor", "iat", "exp"})
_PARENT = "parent"
"""The one claim that only a child run's token has."""
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RUN_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_SHA256 = re.compile(r"[0-9a-f]{64}|")


@dataclass(frozen=True, slots=True)
class Lineage:
    """Whose child a run is, and what of its parent's rights it has. Raises TokenError when out of form.

    Args:
        run: ULID of the parent.
        agent: the parent's.
        depth: generations above this run, at least 1.
        tools: offered names of the upstreams' tools that the run may have, sorted.
        above: the agents of the generations above the parent, the nearest first.
    """

    run: str
    agent: str
    depth: int
    tools: tuple[str, ...]
    above: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_run_id(self.run) or not 1 <= self.depth <= MAX_DEPTH:
            raise TokenError("the parent run is out of form")
        agents = self.agent, *self.above
        if not all(0 < len(agent) <= MAX_NAME_CHARS and agent.isprintable() for agent in agents):
            raise TokenError("the parent's agent is not a short printable name")
        if len(agents) != self.depth:
            raise TokenError("the parent run is out of form")
        if len(self.tools) > MAX_TOOLS or list(self.tools) != sorted(set(self.tools)):
            raise TokenError("the tools are not a sorted list of names")
        if not all(0 < len(tool) <= MAX_NAME_CHARS and tool.isprintable() for tool in self.tools):
            raise TokenError("a tool is not a short printable name")

    def to_json(self) -> dict[str, JSON]:
        """Give the claim."""
        return {
            "above": list(self.above),
            "agent": self.agent,
            "depth": self.depth,
            "run": self.run,
            "tools": list(self.tools),
        }


@dataclass(frozen=True, slots=True)
class RunClaims:
    """What a token says of a run. Raises TokenError on construction when a member is out of form.

    Args:
        run: ULID; names the run everywhere, also its log directory.
        agent: name of the agent's definition.
        user: on whose behalf it acts.
        tenant: may be empty.
        prompt_sha256: hex digest of the registered prompt, or "" without one.
        floor: least label of the run.
        issued: Unix seconds.
        expires: Unix seconds; the token is not valid any more then.
        parent: of a child run.
    """

    run: str
    agent: str
    user: str
    tenant: str
    prompt_sha256: str
    floor: Label
    issued: int
    expires: int
    parent: Lineage | None = None

    def __post_init__(self) -> None:
        if not is_run_id(self.run):
            raise TokenError("the run id is not a ulid")
        for name, text in (("agent", self.agent), ("user", self.user), ("tenant", self.tenant)):
            if len(text) > MAX_NAME_CHARS or not text.isprintable() or not (text or name == "tenant"):
                raise TokenError(f"the {name} is not a short printable name")
        if not _SHA256.fullmatch(self.prompt_sha256):
            raise TokenError("the prompt digest is not a sha-256")
        if not 0 <= self.issued < self.expires <= self.issued + MAX_LIFETIME_S:
            raise TokenError("the token's lifetime is out of bounds")


def mint_ulid(now_ms: int | None = None, entropy: Callable[[int], bytes] = os.urandom) -> str:
    """Return a new ULID: 48 bits of time, 80 of randomness, sortable as text.

    Args:
        now_ms: Unix milliseconds, below 2^48; None takes the system's clock.
        entropy: gives that many unpredictable bytes.

    Source: github.com/ulid/spec.
    """
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    number = int.from_bytes(moment.to_bytes(6, "big") + entropy(10), "big")
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def is_run_id(text: str) -> bool:
    """Tell whether a text is a ULID in canonical spelling; safe as a file name then."""
    return _RUN_ID.fullmatch(text) is not None


def mint(
    signer: Signer,
    *,
    agent: str,
    user: str,
    tenant: str,
    prompt_sha256: str,
    floor: Label,
    ttl_s: int,
    parent: Lineage | None = None,
    now_ms: int | None = None,
    entropy: Callable[[int], bytes] = os.urandom,
) -> tuple[str, RunClaims]:
    """Return a signed token for a new run, and what it says; does not register the run anywhere.

    Args:
        signer: the launcher's key.
        agent: as in `RunClaims`, and so the next four.
        user: see there.
        tenant: see there.
        prompt_sha256: see there.
        floor: see there.
        ttl_s: seconds until the token expires, 1 to 31,536,000.
        parent: of a child run.
        now_ms: Unix milliseconds; None takes the system's clock.
        entropy: gives that many unpredictable bytes.

    Raises:
        TokenError: a member is out of form.
    """
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    run, issued = mint_ulid(moment, entropy), moment // 1000
    claims = RunClaims(run, agent, user, tenant, prompt_sha256, floor, issued, issued + ttl_s, parent)
    return sign(claims, signer), claims


def sign(claims: RunClaims, signer: Signer) -> str:
    """Return the token that says exactly this: a JWS in compact form (RFC 7515 section 7.1)."""
    body: dict[str, JSON] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "jti": claims.run,
        "agent": claims.agent,
        "user": claims.user,
        "tenant": claims.tenant,
        "prompt": claims.prompt_sha256,
        "floor": {name: _json(member) for name, member in claims.floor.to_json().items()},
        "iat": claims.issued,
        "exp": claims.expires,
    }
    if claims.parent is not None:
        body[_PARENT] = claims.parent.to_json()
    message = f"{_HEADER}.{_base64(canonical(body))}"
    return f"{message}.{_base64(signer.sign(message.encode()))}"


def verify(token: str, public: bytes, *, now_s: int | None = None) -> RunClaims:
    """Return whose run a token vouches for.

    Args:
        token: as received; unauthenticated until this returns.
        public: the launcher's 32-byte Ed25519 public key.
        now_s: Unix seconds; None takes the system's clock.

    Raises:
        TokenError: anything but a token that this launcher signed, for this proxy, valid now. The message
            holds nothing of the token.
    """
    try:
        check_public_key(public)
    except KeyMaterialError as error:
        raise TokenError(f"the launcher's key is refused: {error}") from None
    now = int(time.time()) if now_s is None else now_s
    # INVARIANT: the algorithm is ours, never the token's: no header but the one that `sign` writes is looked at.
    if len(token) > MAX_TOKEN_CHARS or not _SEGMENTS.fullmatch(token) or not token.startswith(_HEADER + "."):
        raise TokenError("not a run token; it is the member `token` of what `trionyx-proxy mint` prints")
    if not all(_is_canonical_base64(segment) for segment in token.split(".")):
        raise TokenError("not a run token; it is the member `token` of what `trionyx-proxy mint` prints")
    try:
        checked = jwt.PyJWS().decode_complete(
            token, Ed25519PublicKey.from_public_bytes(public), algorithms=[_ALGORITHM]
        )
    except jwt.PyJWTError:
        raise TokenError("the run token is not signed by the launcher") from None
    try:
        claims = parse(checked["payload"], Limits(max_bytes=MAX_TOKEN_CHARS))
    except ArgumentError:
        raise TokenError("the run token's claims cannot be read") from None
    read = _read(claims)
    if read.issued > now + MAX_SKEW_S:
        raise TokenError("the run token is not valid yet")
    if read.expires <= now:
        raise TokenError("the run token has expired")
    return read


def run_key(token: str) -> bytes:
    """Return the secret of a run, 32 bytes: derived from its token alone, so that it is stored nowhere."""
    return hashlib.sha256(b"trionyx run key\n" + token.encode()).digest()


def public_pem(public: bytes) -> bytes:
    """Return a 32-byte public key as PEM (SubjectPublicKeyInfo): the content of `launcher.pub`."""
    return Ed25519PublicKey.from_public_bytes(public).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _read(claims: JSON) -> RunClaims:
    if not isinstance(claims, dict) or claims.keys() - {_PARENT} != _CLAIMS:
        raise TokenError("the run token lacks a claim, or has one too many")
    match claims:
        case {
            "iss": str(issuer),
            "aud": str(audience),
            "jti": str(run),
            "agent": str(agent),
            "user": str(user),
            "tenant": str(tenant),
            "prompt": str(prompt),
            "floor": floor,
            "iat": int(issued),
            "exp": int(expires),
        } if not isinstance(issued, bool) and not isinstance(expires, bool):
            if issuer != ISSUER or audience != AUDIENCE:
                raise TokenError("the run token is for somebody else")
            label = parse_label(floor)
            if label == TOP and floor != TOP.to_json():
                raise TokenError("the run token's floor is not a label")
            parent = _lineage(claims[_PARENT]) if _PARENT in claims else None
            return RunClaims(run, agent, user, tenant, prompt, label, issued, expires, parent)
    raise TokenError("a claim of the run token is of the wrong type")


def _lineage(claim: JSON) -> Lineage:
    match claim:
        case {
            "above": list(above),
            "agent": str(agent),
            "depth": int(depth),
            "run": str(run),
            "tools": list(tools),
            **others,
        } if not others and not isinstance(depth, bool):
            names = tuple(tool for tool in tools if isinstance(tool, str))
            agents = tuple(name for name in above if isinstance(name, str))
            if (len(names), len(agents)) == (len(tools), len(above)):
                return Lineage(run, agent, depth, names, agents)
    raise TokenError("the run token's parent is of the wrong form")


def _is_canonical_base64(segment: str) -> bool:
    """Whether a segment is the only spelling of its bytes: lenient decoders ignore the last bits."""
    try:
        decoded = urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    except ValueError:
        return False
    return _base64(decoded) == segment


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(member: str | list[str]) -> JSON:
    return member if isinstance(member, str) else list(member)
