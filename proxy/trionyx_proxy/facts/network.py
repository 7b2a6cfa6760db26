"""Strict reading of host names, web addresses and e-mail addresses.

A name is read only where every common parser reads the same thing; whatever two parsers could take apart
differently is no name at all. Names are not resolved: a public name may still lead to a private address.
Source: RFC 3986, RFC 1123 section 2.1, RFC 5321 section 4.1.2, WHATWG URL (where it differs: refused).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from trionyx_proxy.facts.script import has_hidden

MAX_URL_CHARS = 8_192
MAX_HOST_CHARS = 253

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443, "ftp": 21}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PRIVATE_SUFFIXES = ("localhost", "local", "internal", "lan", "home.arpa", "localdomain", "intranet")
_ATOM = (
    r"[a-z0-9#$&'*+/=?^_`{|}~-]+"  # RFC 5322 atext, lower case, without % and !, which old relays route by
)
_LOCAL_PART = re.compile(rf"{_ATOM}(\.{_ATOM})*")

_URL = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{0,31})://"
    r"(?:(?P<userinfo>[a-z0-9._~!$&'()*+,;=:%-]*)@)?"
    r"(?P<host>\[[0-9a-f:.]+\]|[^@:/?#\[\]]+)"
    r"(?::(?P<port>[0-9]*))?"
    r"(?P<path>/[^?#]*)?"
    r"(?:\?(?P<query>[^#]*))?"
    r"(?:#(?P<fragment>.*))?",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
# Everything RFC 3986 allows somewhere; letters of other scripts are taken as their UTF-8 percent form.
_URL_TEXT = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Escaped dots, slashes, backslashes, percents and controls mean different paths to different servers.
_AMBIGUOUS_ESCAPE = re.compile(r"%(?:2e|2f|5c|25|[01][0-9a-f]|7f)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Host:
    """A host as written, in the one form that policies compare.

    Args:
        name: lower-case ASCII name without a trailing dot, or the compressed IP address without brackets.
        ip: whether it is an address.
        private: whether it is reserved for a machine or a local network, by address or by name.
    """

    name: str
    ip: bool
    private: bool


@dataclass(frozen=True, slots=True)
class Url:
    """A web address taken apart.

    Args:
        port: the written or the scheme's own port; 0 where neither exists.
        query_bytes: bytes after the path: query and fragment, as sent.
        path: percent-encoded, "/" where none is written.
    """

    scheme: str
    host: Host
    port: int
    userinfo: bool
    query_bytes: int
    path: str


def parse_host(text: str) -> Host | None:
    """Read a host name or IP address; None where parsers disagree. Names of other scripts: only as `xn--…`."""
    if text.startswith("[") and text.endswith("]"):
        return _parse_address(text[1:-1]) if ":" in text else None
    name = text.lower().removesuffix(".")
    if not text.isascii() or not name or len(name) > MAX_HOST_CHARS:
        return None
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        # A numeric last label makes it an IPv4 address for some parsers: `127.1`, `0x7f.1`, `2130706433`.
        return _parse_address(name) if name == text else None
    if not all(_LABEL.fullmatch(label) and _is_punycode_sound(label) for label in labels):
        return None
    local = len(labels) == 1 or any(
        name == suffix or name.endswith("." + suffix) for suffix in _PRIVATE_SUFFIXES
    )
    return Host(name, ip=False, private=local)


def parse_url(text: str) -> Url | None:
    """Read an absolute URL with a host; None for anything relative, malformed or ambiguous."""
    if len(text) > MAX_URL_CHARS or has_hidden(text) or any(character.isspace() for character in text):
        return None
    match = _URL.fullmatch(text)
    if match is None:
        return None
    rest = quote(text[match.end("host") :], safe="%:/?#[]@!$&'()*+,;=~^`{}|\"<>\\")
    if not _URL_TEXT.fullmatch(rest) or _BAD_ESCAPE.search(text):
        return None
    host = parse_host(match["host"])
    path = quote(match["path"] or "/", safe="%:/@!$&'()*+,;=~")
    if host is None or not _is_plain_path(path):
        return None
    scheme, port = match["scheme"].lower(), match["port"]
    if port is not None and (not port or port[0] == "0" or int(port[:6]) > 65_535):
        return None
    tail = text[match.end("path") if match["path"] is not None else _authority_end(match) :]
    return Url(
        scheme=scheme,
        host=host,
        port=int(port) if port else _DEFAULT_PORTS.get(scheme, 0),
        userinfo=match["userinfo"] is not None,
        query_bytes=max(0, len(quote(tail, safe="%:/?#[]@!$&'()*+,;=~")) - 1),
        path=path,
    )


def parse_address(text: str) -> tuple[str, str] | None:
    """Read one bare e-mail address; returns it and its domain in lower case.

    None for display names, comments, quoted local parts, several addresses, routing characters, domain
    literals and names of other scripts.
    """
    lowered = text.lower()
    local, at, domain = lowered.rpartition("@")
    if not at or not text.isascii() or len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        return None
    host = parse_host(domain)
    if host is None or host.ip or host.name != domain or "_" in domain:
        return None
    return lowered, domain


def _parse_address(text: str) -> Host | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return None
    return Host(address.compressed, ip=True, private=_is_private(address))


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in ipaddress.ip_network("64:ff9b::/96") or address in ipaddress.ip_network("::/96"):
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
        if any(embedded is not None and _is_private(embedded) for embedded in inner):
            return True
    return not address.is_global or address.is_multicast


def _is_punycode_sound(label: str) -> bool:
    """Whether an `xn--` label is what its own decoding encodes to; other labels are."""
    if not label.startswith("xn--"):
        return True
    try:
        decoded = label[4:].encode().decode("punycode")
        encoded = decoded.encode("punycode").decode()
    except (ValueError, OverflowError):
        return False
    return not decoded.isascii() and decoded.isprintable() and encoded == label[4:]


def _is_plain_path(path: str) -> bool:
    if _AMBIGUOUS_ESCAPE.search(path) or "//" in path:
        return False
    return not any(segment in (".", "..") for segment in path.split("/"))


def _authority_end(match: re.Match[str]) -> int:
    return match.end("port") if match["port"] is not None else match.end("host")
