"""The facts of one call: every argument read as what the catalog says it is, or listed as invalid.

Facts are for the policy and the sink's clearance. The arguments themselves are neither changed nor judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from trionyx_proxy.arguments import JSON, pointer
from trionyx_proxy.catalog import ArgumentType, Shape, ToolEntry
from trionyx_proxy.catalog.member import parse_iban
from trionyx_proxy.facts.identifier import is_handle, is_name, is_revision, parse_phone
from trionyx_proxy.facts.network import Host, parse_address, parse_host, parse_url
from trionyx_proxy.facts.path import parse_path
from trionyx_proxy.facts.prompt import embedded_hosts
from trionyx_proxy.facts.script import has_bidi, has_control, has_hidden, has_invisible

UNCATALOGUED = "uncatalogued"
"""Type under which `invalid` lists an argument that the catalog does not describe."""

MAX_INVALID = 64
"""Entries of `invalid`; one is enough for a denial."""

MAX_POINTER_CHARS = 1_024

_DATE = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])?)?"
)
_AMOUNT = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,9})?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_ID = re.compile(r"\S(.{0,254}\S)?")

Path = tuple[str | int, ...]


def compute(arguments: JSON, entry: ToolEntry) -> dict[str, JSON]:
    """Return the `facts` object of the policy input (`trionyx.input/v1`); never fails.

    Args:
        arguments: one call's arguments, strict-parsed, schema-checked, with defaults explicit.
        entry: the tool as the catalog describes it.
    """
    facts = _Facts(entry)
    if not isinstance(arguments, dict):
        facts.refuse((), UNCATALOGUED)
    for path, shape, value in leaves(arguments, (), (), entry):
        argument = entry.arguments.get(shape)
        if value is None and (argument is not None or shape in entry.containers):
            continue  # a described argument that names nothing
        if argument is None:
            facts.refuse(path, UNCATALOGUED)
        else:
            facts.add(path, argument.type, _based(arguments, argument.base, value))
    return {
        "invalid": facts.invalid,
        "origins": [],
        "paths": facts.paths,
        "recipients": facts.recipients,
        "text": facts.text,
        "urls": facts.urls,
    }


def leaves(value: JSON, path: Path, shape: Shape, entry: ToolEntry) -> Iterator[tuple[Path, Shape, JSON]]:
    """Yield the places of a call's arguments that are not mere containers of described ones, in a fixed order."""
    if isinstance(value, dict) and shape in entry.containers:
        for name in sorted(value):
            yield from leaves(value[name], (*path, name), (*shape, name), entry)
    elif isinstance(value, list) and shape in entry.containers and shape:
        for position, element in enumerate(value):
            yield from leaves(element, (*path, position), (*shape, None), entry)
    elif not (isinstance(value, dict) and not value and not shape):  # a call without arguments
        yield path, shape, value


def _based(arguments: JSON, base: Shape | None, value: JSON) -> JSON:
    """Return a relative path below the path of another argument; None, which is no path, where there is none."""
    if base is None or not isinstance(value, str) or value.startswith("/"):
        return value
    above = arguments
    for name in base:
        above = above.get(name) if name is not None and isinstance(above, dict) else None
    # What a name means only at its beginning is looked for before it stands behind another: an option, a pattern
    # of git, a home directory, a drive.
    if not isinstance(above, str) or not value or value[0] in "-:~" or _SCHEME.match(value):
        return None
    return f"{above}/{value}"


class _Facts:
    def __init__(self, entry: ToolEntry) -> None:
        self._roots = entry.roots
        self.invalid: list[JSON] = []
        self.paths: list[JSON] = []
        self.recipients: list[JSON] = []
        self.text: list[JSON] = []
        self.urls: list[JSON] = []

    def refuse(self, path: Path, kind: str) -> None:
        if len(self.invalid) < MAX_INVALID:
            self.invalid.append({"arg": _argument(path), "type": kind})

    def add(self, path: Path, kind: ArgumentType, value: JSON) -> None:
        """Read a value as its type; what does not read so is invalid, and no fact."""
        if not self._read(_argument(path), kind, value):
            self.refuse(path, kind.value)

    def _read(self, arg: str, kind: ArgumentType, value: JSON) -> bool:
        match kind, value:
            case ArgumentType.TEXT, str():
                self.text.append(_text_fact(arg, value))
                return True
            case ArgumentType.PATH, str():
                place = parse_path(value, self._roots)
                if place is None:
                    return False
                self.paths.append(
                    {
                        "arg": arg,
                        "path": place.path,
                        "inside": place.inside,
                        "hidden": place.hidden,
                        "control": place.control,
                    }
                )
                return True
            case ArgumentType.URL, str():
                url = parse_url(value)
                if url is None:
                    return False
                self.urls.append(
                    _url_fact(arg, url.host, url.scheme, url.port, url.userinfo, url.query_bytes, url.path)
                )
                return True
            case ArgumentType.HOST, str():
                host = parse_host(value)
                if host is None:
                    return False
                self.urls.append(_url_fact(arg, host, "", 0, False, 0, ""))
                return True
            case ArgumentType.EMAIL, str():
                address = parse_address(value)
                if address is None:
                    return False
                self.recipients.append({"arg": arg, "address": address[0], "domain": address[1]})
                return True
            case ArgumentType.ID, str():
                return _ID.fullmatch(value) is not None and not has_hidden(value)
            case ArgumentType.IBAN, str():
                return parse_iban(value) is not None
            case ArgumentType.PHONE, str():
                return parse_phone(value) is not None
            case ArgumentType.NAME, str():
                return is_name(value)
            case ArgumentType.REVISION, str():
                return is_revision(value)
            case ArgumentType.HANDLE, str():
                return is_handle(value)
            case ArgumentType.DATE, str():
                return _DATE.fullmatch(value) is not None
            case ArgumentType.AMOUNT, str():
                return _AMOUNT.fullmatch(value) is not None
            case ArgumentType.BOOLEAN | ArgumentType.ENUM, bool():
                return True
            case _, bool():
                return False
            case ArgumentType.ID | ArgumentType.INTEGER | ArgumentType.AMOUNT | ArgumentType.ENUM, int():
                return True
            case ArgumentType.AMOUNT, float():
                return True
            case ArgumentType.ENUM, str():
                return len(value) <= 256 and not has_hidden(value)
        return False


def _argument(path: Path) -> str:
    # Escaping is not needed: odd names become `*`.
    while len(text := pointer(path)) > MAX_POINTER_CHARS:
        path = path[:-1]
    return text


def _text_fact(arg: str, text: str) -> JSON:
    hosts: list[JSON] = []
    hosts.extend(embedded_hosts(text))
    return {
        "arg": arg,
        "bytes": len(text.encode()),
        "control": has_control(text),
        "bidi": has_bidi(text),
        "invisible": has_invisible(text),
        "urls": hosts,
    }


def _url_fact(
    arg: str, host: Host, scheme: str, port: int, userinfo: bool, query_bytes: int, path: str
) -> JSON:
    return {
        "arg": arg,
        "scheme": scheme,
        "host": host.name,
        "port": port,
        "ip": host.ip,
        "private": host.private,
        "userinfo": userinfo,
        "query_bytes": query_bytes,
        "path": path,
    }
