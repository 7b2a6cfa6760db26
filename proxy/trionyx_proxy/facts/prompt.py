"""Names within prose: what a prompt names, and which hosts an outgoing text links to.

A prompt is the user's word, so it is read narrowly: only whole tokens of a known form count, and a bare
`report.zip` is a file, not a host. Outgoing text is read widely, because somebody's mail program will.
"""

from __future__ import annotations

import html
import re

from trionyx_proxy.facts.network import parse_address, parse_host, parse_url
from trionyx_proxy.facts.path import parse_path

MAX_NAMES = 1_024
"""Names of each kind taken from one prompt."""

UNREADABLE = "invalid"
"""Stands for an embedded link whose host parsers disagree on; never a listed host."""

_TOKEN = re.compile(r"[^\s<>\"'`|\u2018-\u201f\u00ab\u00bb,;]+")
_TRAILING = ".,;:!?)]}*"
_LEADING = "([{*"
_ANY_LINK = re.compile(r"((?:https?|ftp|wss?):[/\\]*|[/\\]{2,})([^\s/\\?#<>\"'`)\]}|,;]*)", re.IGNORECASE)
_USERINFO = re.compile(r"[^/\\?#\n]{0,512}@([^\s/\\?#<>\"'`)\]}|,;@]*)")
"""What may stand before a link's host; parsers take almost any character there, spaces included."""

# Programs make links of these without being told, and a name with a path is hardly meant as anything else.
_BARE = (
    r"(?<![\w.@/\\:-])(?:[^\W_][\w-]{0,62}\.){1,126}"
    r"(?:com|org|net|edu|gov|int|info|biz|io|co|ai|app|dev|xyz|online|site|top|link|click|shop|club|me|eu|uk|de|ch|at|fr|us"
    r"|ru|cn|in|example)(?=(?::[0-9]{1,5})?[/?])"
)
_WHOLE_LINK = re.compile(
    r"(?:(?:https?|ftp|wss?):[/\\]*|(?<![\w:])[/\\]{2}(?=[^\s/\\]+\.)|(?<![\w.@/\\-])www\.|"
    rf"{_BARE})[^\s<>\"'`\u2018-\u201f\u00ab\u00bb]+",
    re.IGNORECASE,
)
_BARE_HOST = re.compile(_BARE, re.IGNORECASE)
_DROPPED = dict.fromkeys(map(ord, "\t\r\n"))
# Every link has one of these, or begins with `www.`; of a character reference any character may come.
_LINKING = (":", "/", "\\", "?", "&")
_WWW = re.compile(r"(?<![\w.@/\\-])www\.[^\s/\\?#<>\"'`)\]}|,;:]+", re.IGNORECASE)


def prompt_facts(text: str) -> dict[str, list[str]]:
    """Return the e-mail addresses, hosts and absolute paths that a registered prompt names, sorted.

    Hosts count only from a web address or with a leading `www.`; the host of an e-mail address does not.
    """
    emails: set[str] = set()
    hosts: set[str] = set()
    paths: set[str] = set()
    for token in _TOKEN.findall(text):
        word = token.rstrip(_TRAILING).lstrip(_LEADING)
        if word.startswith("/"):
            place = parse_path(word, ("/",))
            if place is not None and place.inside and not place.control and len(word) > 1:
                paths.add(place.path)
        elif "://" in word:
            url = parse_url(word)
            if url is not None and not url.userinfo:
                hosts.add(url.host.name)
        elif word[:4].lower() == "www.":
            host = parse_host(re.split(r"[/?#:]", word, maxsplit=1)[0])
            if host is not None:
                hosts.add(host.name)
        elif "@" in word:
            address = parse_address(word.removeprefix("mailto:"))
            if address is not None:
                emails.add(address[0])
    return {"emails": _listed(emails), "hosts": _listed(hosts), "paths": _listed(paths)}


def embedded_hosts(text: str) -> list[str]:
    """Return the hosts of everything in a text that may be taken for a link, sorted.

    Takes `scheme://…`, `//…` with a dot in its host, backslashes for slashes, and `www.…`; a host that
    cannot be read strictly appears as `invalid`. Bare names without a scheme are taken only with a path or query.
    """
    if not _may_link(text):
        return []
    hosts = _hosts_in(text)
    # A mail program resolves character references and drops line breaks and tabs inside an address.
    as_shown = html.unescape(text).translate(_DROPPED)
    if as_shown != text:
        hosts |= _hosts_in(as_shown)
    return sorted(hosts)


def embedded_urls(text: str) -> list[str]:
    """Return everything in a text that may be taken for a web address, as written, in order and once each.

    Reads as widely as `embedded_hosts`; a text that shows more links than it spells gives `invalid` besides.
    """
    if not _may_link(text):
        return []
    found = dict.fromkeys(match[0].rstrip(_TRAILING) for match in _WHOLE_LINK.finditer(text))
    spelled: set[str] = set()
    for url in found:
        spelled |= set(embedded_hosts(url))
    if not set(embedded_hosts(text)) <= spelled:
        found[UNREADABLE] = None
    return list(found)


def _may_link(text: str) -> bool:
    """Tell cheaply whether a text could hold a link, also once it is rendered; most texts hold none."""
    return any(mark in text for mark in _LINKING) or "www." in text.translate(_DROPPED).lower()


def _hosts_in(text: str) -> set[str]:
    hosts: set[str] = set()
    # Most text holds no link; looking for the characters of one is far cheaper than looking for one.
    has_slashes = any(mark in text for mark in ("//", "\\", ":"))
    for match in _ANY_LINK.finditer(text) if has_slashes else ():
        authority = match[2].rpartition("@")[2]
        has_scheme = ":" in text[max(0, match.start() - 1) : match.end(1)]
        # Browsers take `https:host` and `//host` too; with a dot it could be meant so.
        if (has_scheme and len(match[1].rpartition(":")[2]) >= 2) or "." in authority:
            hosts.add(_host_of(authority))
            # `https://ours.example;@theirs.example/`: whatever follows an `@` may be the host that is meant.
            if (found := _USERINFO.match(text, match.end(1))) is not None:
                hosts.add(_host_of(found[1]))
    for match in _WWW.finditer(text) if "www." in text.lower() else ():
        hosts.add(_host_of(match[0]))
    for match in _BARE_HOST.finditer(text) if "." in text and ("/" in text or "?" in text) else ():
        hosts.add(_host_of(match[0]))
    return hosts


def _host_of(authority: str) -> str:
    bare = authority.rstrip(_TRAILING) if not authority.startswith("[") else authority
    name = re.sub(r":[0-9]*$", "", bare) if not bare.startswith("[") else bare.partition("]")[0] + "]"
    host = parse_host(name)
    return UNREADABLE if host is None else host.name


def _listed(names: set[str]) -> list[str]:
    return sorted(names)[:MAX_NAMES]
