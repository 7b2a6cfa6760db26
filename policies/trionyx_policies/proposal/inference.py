"""Guesses about a listed tool: effect, relaying, role and type of each argument, each with a confidence and a reason.

Descriptions are not read: they are prose of whoever wrote the server, and would argue for themselves. Hints can
only raise the danger; nothing in a listing can make a tool look more harmless than its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from trionyx_policies.document import Json
from trionyx_policies.proposal import words
from trionyx_policies.proposal.words import words_of, worse

MAX_DEPTH: Final = 16
MAX_ARGUMENTS: Final = 512

_KNOWN_FORMATS: Final = {
    "email": "email",
    "idn-email": "email",
    "uri": "url",
    "url": "url",
    "iri": "url",
    "date": "date",
    "date-time": "date",
    "hostname": "host",
    "ipv4": "host",
    "ipv6": "host",
    "uuid": "id",
}
_QUIET: Final = frozenset({"read", "fetch"})


@dataclass(frozen=True, slots=True)
class Guess:
    """One guess.

    Args:
        value: what is guessed.
        confidence: 0 to 1; how often such a guess is right, by rule of thumb.
        reason: what it rests on, for the person who accepts it.
    """

    value: str
    confidence: float
    reason: str


@dataclass(frozen=True, slots=True)
class ArgumentGuess:
    """Role and type of one argument; the less certain one says how certain the whole is."""

    role: Guess
    type: Guess


def guess_effect(name: str, annotations: Json, arguments: Mapping[str, str]) -> Guess:
    """Guess a tool's effect.

    Args:
        name: of the tool.
        annotations: its hints, as listed.
        arguments: guessed type of each argument, by its last member name.
    """
    guess = _by_verb(name)
    if guess.value == "read" and "url" in arguments.values():
        guess = Guess("fetch", min(guess.confidence, 0.6), f"{guess.reason}; takes a web address")
    if guess.value == "fetch" and "path" in arguments.values():
        guess = Guess("local", 0.4, f"{guess.reason}; takes a path")
    guess = _by_subject(guess, frozenset(words_of(name)), frozenset(arguments))
    return _by_hints(guess, annotations if isinstance(annotations, dict) else {})


def _by_verb(name: str) -> Guess:
    found: dict[str, list[str]] = {}
    parts = words_of(name)
    for word in parts:
        for effect, verbs in words.VERBS.items():
            if word in verbs:
                found.setdefault(effect, []).append(word)
    if not found:
        return Guess("destroy", 0.1, "no word of the name is known; the worst is assumed")
    effect = max(found, key=words.DANGER.index)
    known = [word for word in parts if any(word in verbs for verbs in found.values())]
    if len(found) > 1 and known[0] in words.VERBS["read"] and set(known[1:]) <= words.THINGS:
        return Guess("read", 0.6, f"named {known[0]}; {', '.join(known[1:])} is taken for what is read")
    named = ", ".join(found[effect])
    if len(found) > 1:
        return Guess(effect, 0.4, f"named {named}, the worst of several words")
    if effect == "local":
        return Guess(effect, 0.4, f"named {named}; if others can see it, it is egress or worse")
    # The verb mostly stands first, or second behind the server's name.
    return Guess(effect, 0.8 if parts.index(known[0]) < 2 else 0.5, f"named {named}")


def _by_subject(guess: Guess, parts: frozenset[str], arguments: frozenset[str]) -> Guess:
    """Raise a guess by what the tool works on."""
    if hit := frozenset(name.lower() for name in arguments) & words.STATEMENTS:
        return _raised(guess, "destroy", f"runs a {min(hit)}")
    if guess.value in _QUIET:
        return guess
    for effect, subjects in words.SUBJECTS.items():
        if hit := parts & subjects:
            guess = _raised(guess, effect, f"about {min(hit)}")
    return guess


def _by_hints(guess: Guess, hints: Mapping[str, Json]) -> Guess:
    if hints.get("readOnlyHint") is False and guess.value in _QUIET:
        guess = _raised(guess, "local", "but readOnlyHint is false")
    if hints.get("destructiveHint") is True and hints.get("readOnlyHint") is not True:
        guess = _raised(guess, "destroy", "but destructiveHint is true")
    if hints.get("openWorldHint") is True and guess.value == "local":
        guess = _raised(guess, "egress", "but openWorldHint is true")
    return guess


def _raised(guess: Guess, effect: str, reason: str) -> Guess:
    """Return a guess at least as dangerous as an effect."""
    worst = worse(guess.value, effect)
    return guess if worst == guess.value else Guess(worst, 0.4, f"{guess.reason}; {reason}")


def guess_relaying(name: str, effect: str) -> Guess | None:
    """Guess whether a tool passes on text that is not among its arguments; None where no word of its name says so.

    Args:
        name: of the tool.
        effect: guessed. What only reads would pass nothing on, but that is a guess itself.
    """
    parts = words_of(name)
    hit = [word for word in parts if word in words.RELAYS]
    if not hit:
        return None
    named = f"named {', '.join(hit)}"
    if effect in _QUIET:
        return Guess("true", 0.3, f"{named}, though it seems to {effect} only")
    return Guess("true", 0.8 if parts.index(hit[0]) < 2 else 0.5, named)


def guess_arguments(schema: Json) -> tuple[dict[str, tuple[str, Mapping[str, Json]]], list[str]]:
    """Take an input schema apart.

    Returns:
        By JSON pointer with `*` for elements: the last member name and the schema of the leaf; and what of it
        cannot be described.
    """
    leaves: dict[str, tuple[str, Mapping[str, Json]]] = {}
    problems: list[str] = []
    for pointer, name, leaf in _leaves(schema, schema, "", "", MAX_DEPTH):
        if leaf is None:
            problems.append(pointer or "/")
        elif len(leaves) < MAX_ARGUMENTS:
            leaves[pointer] = (name, _united(leaves[pointer][1], leaf) if pointer in leaves else leaf)
        else:
            problems.append(pointer)
    return leaves, list(dict.fromkeys(problems))


def _leaves(
    schema: Json, root: Json, pointer: str, name: str, depth: int
) -> Iterator[tuple[str, str, Mapping[str, Json] | None]]:
    """Give the leaves of a schema; None for a place that no pointer can describe."""
    found = _resolved(schema, root, depth)
    if found is None or depth == 0:
        yield pointer, name, None
        return
    options = [option for key in ("anyOf", "oneOf", "allOf") for option in _list(found.get(key))]
    kinds = found.get("type")
    types = [kind for kind in (kinds if isinstance(kinds, list) else [kinds]) if kind != "null"]
    members, items = found.get("properties"), found.get("items")
    if isinstance(members, dict) and members:
        for member, inner in members.items():
            if not member or member == "*" or not member.isprintable():
                yield f"{pointer}/{member!a}", name, None
            else:
                step = member.replace("~", "~0").replace("/", "~1")
                yield from _leaves(inner, root, f"{pointer}/{step}", member, depth - 1)
        if isinstance(found.get("additionalProperties"), dict):
            yield f"{pointer}/*", name, None
    elif "object" in types and pointer:
        yield pointer, name, None  # members of any name: each call that uses them stays undescribed
    if "array" in types or items is not None:
        yield from _leaves({} if items is None else items, root, f"{pointer}/*", name, depth - 1)
    for option in options:
        if option != {"type": "null"}:
            yield from _leaves(option, root, pointer, name, depth - 1)
    plain = [kind for kind in types if isinstance(kind, str) and kind not in ("object", "array")]
    if any(kind is not None and not isinstance(kind, str) for kind in types):
        yield pointer, name, None
    if pointer and (plain or not (types != [None] or options or members or items is not None)):
        yield pointer, name, {**found, "type": list(plain)}


def _resolved(schema: Json, root: Json, depth: int) -> dict[str, Json] | None:
    """Follow local references."""
    for _ in range(depth):
        if not isinstance(schema, dict):
            return {} if schema is True else None
        reference = schema.get("$ref")
        if reference is None:
            return schema
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        target: Json = root
        for step in reference[2:].split("/"):
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, dict) else None
        schema = target
    return None


def _united(one: Mapping[str, Json], other: Mapping[str, Json]) -> Mapping[str, Json]:
    return {"type": list(dict.fromkeys([*_list(one.get("type")), *_list(other.get("type"))]))}


def guess_type(name: str, leaf: Mapping[str, Json]) -> Guess:
    """Guess the type of an argument from its schema, else from its name."""
    kinds, form = _list(leaf.get("type")), leaf.get("format")
    parts = set(words_of(name)) | {name.lower()}
    if kinds == ["boolean"]:
        return Guess("boolean", 1.0, "the schema says boolean")
    if "enum" in leaf or "const" in leaf:
        return Guess("enum", 0.9, "the schema lists its values")
    if kinds == ["integer"]:
        return Guess("integer", 1.0, "the schema says integer")
    if set(kinds) and set(kinds) <= {"number", "integer"}:
        return Guess("amount", 0.9, "the schema says number")
    if kinds and set(kinds) <= {"string", "integer"} and "integer" in kinds:
        return Guess("id", 0.6, "the schema says string or integer")
    if kinds and kinds != ["string"]:
        return Guess("enum", 0.3, "the schema allows several types")
    if isinstance(form, str) and form in _KNOWN_FORMATS:
        return Guess(_KNOWN_FORMATS[form], 0.95, f"the schema's format is {form}")
    for kind, known, confidence in (
        ("text", words.SECRETS, 0.7),
        ("text", words.QUERIES, 0.7),
        ("email", words.EMAILS, 0.7),
        ("iban", words.ACCOUNTS, 0.8),
        ("phone", words.PHONES, 0.7),
        ("url", words.LINKS, 0.8),
        ("text", words.PROSE, 0.7),
        ("date", words.TIMES, 0.5),
        ("amount", words.SUMS, 0.5),
        ("id", words.IDENTIFIERS, 0.7),
        ("revision", words.REVISIONS, 0.5),
        ("path", words.PLACES, 0.6),
        ("host", words.HOSTS, 0.6),
        ("text", words.TITLES, 0.6),
        ("name", words.NAMES, 0.5),
    ):
        if hit := parts & known:
            return Guess(kind, confidence, f"named {min(hit)}")
    return Guess("text", 0.2, "nothing says what it is")


def guess_role(name: str, kind: str, effect: str) -> Guess:
    """Guess the role of an argument: the one that asks for the most provenance where several fit."""
    parts = set(words_of(name)) | {name.lower()}
    acts = effect not in _QUIET
    if hit := parts & words.SECRETS:
        return Guess("secret", 0.8, f"named {min(hit)}")
    if kind in ("boolean", "enum") or (parts & words.SETTINGS and kind in ("integer", "text", "id")):
        return Guess("plain", 0.7, "chooses among settings")
    if kind == "date":
        return Guess("when", 0.6, "a time")
    if kind == "amount":
        return Guess("amount", 0.6, "a number")
    if kind in ("email", "url", "host", "phone", "iban"):
        return (
            Guess("target", 0.8, f"{_article(kind)} that the call reaches")
            if effect != "read"
            else Guess("selector", 0.7, f"{_article(kind)} that the call looks for")
        )
    if acts and (hit := parts & words.RECEIVERS):
        return Guess("target", 0.7, f"named {min(hit)}")
    if kind == "path":
        return Guess("target", 0.7, "a place that changes") if acts else Guess("selector", 0.8, "a place")
    if acts and (hit := parts & words.TITLES):
        return Guess("title", 0.6, f"named {min(hit)}")
    if acts and (hit := parts & (words.PROSE - words.QUERIES)):
        return Guess("content", 0.7, f"named {min(hit)}")
    if kind in ("id", "integer", "revision", "name") or parts & words.QUERIES:
        return Guess("selector", 0.6, "chooses what the call is about")
    if acts:
        return Guess("target", 0.2, "nothing says what it does; the strictest is assumed")
    return Guess("selector", 0.3, "nothing says what it does")


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aei" else f"a {kind}"


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []
