"""Characters that a person does not see or that change what a person reads.

Source: Unicode 15 categories Cc and Cf; UAX #9 (direction), UTS #51 (joiners within emoji), UTR #36.
"""

from __future__ import annotations

import re

# Tab, line feed and carriage return are ordinary in text.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufe00-\ufe0d\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    # A joiner belongs to an emoji; after anything else it hides.
    "|(?<![\u2600-\u27bf\ufe0f\U0001f000-\U0001faff])\u200d"
)


def has_control(text: str) -> bool:
    """Whether a text holds control characters other than tab and line ends."""
    return _CONTROL.search(text) is not None


def has_bidi(text: str) -> bool:
    """Whether a text holds characters that change its direction."""
    return not text.isascii() and _BIDI.search(text) is not None


def has_invisible(text: str) -> bool:
    """Whether a text holds characters without a glyph: zero-width, tags, variation selectors, fillers."""
    return not text.isascii() and _INVISIBLE.search(text) is not None


def has_hidden(text: str) -> bool:
    """Whether a name, path or address holds anything of the above, or a line end or tab."""
    return has_control(text) or has_bidi(text) or has_invisible(text) or not text.isprintable()
