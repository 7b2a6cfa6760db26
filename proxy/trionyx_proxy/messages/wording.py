"""The tools for messages as the agent is shown them."""

from __future__ import annotations

from typing import Any, Final

from trionyx_proxy.messages.questions import MAX_NAME_CHARS, MAX_OPTIONS, MAX_QUESTIONS, WORDS

PARENT: Final = "parent"
"""What a child run calls its parent run, whatever that one's agent is called."""

_TO: Final = {"type": "string", "minLength": 1, "maxLength": 128, "description": "The agent's name."}
_NAME: Final = {"type": "string", "pattern": f"^[A-Za-z0-9_-]{{1,{MAX_NAME_CHARS}}}$"}

DESCRIPTORS: Final[tuple[dict[str, Any], ...]] = (
    {
        "name": "trionyx_send",
        "description": (
            "Send a message to another agent: a text, or one JSON object as text. It is labelled with all that you "
            "have read. A child run reports to `parent`."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {"to": _TO, "message": {"type": "string", "minLength": 1, "maxLength": 65_536}},
            "required": ["to", "message"],
            "additionalProperties": False,
        },
    },
    {
        "name": "trionyx_receive",
        "description": (
            "Receive what other agents sent you: messages, questions to answer with trionyx_answer, and answers to "
            "yours. Later calls may be refused for what a message brings."
        ),
        "inputSchema": {"type": "object", "properties": {}, "additionalProperties": False},
    },
    {
        "name": "trionyx_ask",
        "description": (
            "Ask another agent typed questions (bool, enum of your options, integer from minimum to maximum) whose "
            "answers you can rely on, few bits at a time; or for a few words, or a summary, which a person has to "
            "approve. The answers come with trionyx_receive."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "to": _TO,
                "questions": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_QUESTIONS,
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": _NAME,
                            "type": {"enum": ["bool", "enum", "integer", *WORDS]},
                            "options": {
                                "type": "array",
                                "items": {
                                    "type": "string",
                                    "pattern": f"^[A-Za-z0-9_ -]{{1,{MAX_NAME_CHARS}}}$",
                                },
                                "maxItems": MAX_OPTIONS,
                            },
                            "minimum": {"type": "integer"},
                            "maximum": {"type": "integer"},
                            "words": {"type": "integer"},
                        },
                        "required": ["name", "type"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["to", "questions"],
            "additionalProperties": False,
        },
    },
    {
        "name": "trionyx_answer",
        "description": (
            "Answer a question that came with trionyx_receive: each asked name once, with `value`, or with `text` "
            "where words were asked for."
        ),
        "inputSchema": {
            "type": "object",
            "properties": {
                "question_id": {"type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$"},
                "answers": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": MAX_QUESTIONS,
                    "items": {
                        "type": "object",
                        "properties": {
                            "name": _NAME,
                            "value": {"type": ["boolean", "integer", "string"], "maxLength": MAX_NAME_CHARS},
                            "text": {"type": "string", "maxLength": 4_096},
                        },
                        "required": ["name"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["question_id", "answers"],
            "additionalProperties": False,
        },
    },
)
SPEAKING: Final = frozenset(str(descriptor["name"]) for descriptor in DESCRIPTORS)
"""Names of the tools for messages."""
