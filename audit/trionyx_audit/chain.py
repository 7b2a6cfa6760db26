"""The chain: whether a line is the one that may follow the line before it.

Checks framing, canonical form, place, predecessor and log name. Does not check signatures (`note`, `verify`).
"""

from __future__ import annotations

from trionyx_audit.canonical import JSON, decode_body
from trionyx_audit.errors import EncodingError, FormatError
from trionyx_audit.record import FIRST_PREVIOUS, VERSION, body_of, leaf_hash


class Chain:
    """A cursor over the records of one log, from record 0 on.

    Args:
        origin: the log's name, which every record must carry.
    """

    __slots__ = ("origin", "previous", "size")

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.size = 0
        self.previous = FIRST_PREVIOUS

    def accept(self, line: bytes) -> tuple[dict[str, JSON], bytes]:
        """Check the next line and advance.

        Args:
            line: bytes without the newline.

        Returns:
            The body's members and the line's leaf hash.

        Raises:
            FormatError: this line cannot stand here; the cursor has not moved.
        """
        try:
            body = decode_body(body_of(line))
        except EncodingError as error:
            raise FormatError(f"the body is {error}") from error
        if type(body.get("seq")) is not int or body["seq"] != self.size:
            raise FormatError(f"the body holds sequence number {shown(body.get('seq'))}, not {self.size}")
        if body.get("prev") != self.previous:
            raise FormatError("the body names another predecessor")
        if body.get("log") != self.origin:
            raise FormatError("the body belongs to another log")
        self._check_common(body)
        leaf = leaf_hash(line)
        self.previous = leaf.hex()
        self.size += 1
        return body, leaf

    def _check_common(self, body: dict[str, JSON]) -> None:
        if body.get("v") != VERSION or body["v"] is True:
            raise FormatError(f"the body is of format version {shown(body.get('v'))}, not {VERSION}")
        kind = body.get("type")
        if not isinstance(kind, str):
            raise FormatError("the body has no type")
        if (self.size == 0) != (kind == "log.open"):
            raise FormatError("record 0, and only record 0, opens the log")


def shown(value: JSON | None) -> str:
    """Return a received value as at most a short number; never its text."""
    return str(value) if isinstance(value, int) and abs(value) < 10**16 else "nothing usable"
