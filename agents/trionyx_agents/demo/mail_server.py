"""A mailbox as an MCP server: `list`, `read`, `send`. Sent mail goes to the journal and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path

from trionyx_agents.demo.journal import Journal
from trionyx_agents.demo.server import Arguments, Tool, ToolError, directory, serve


def tools(inbox: Path) -> tuple[Tool, ...]:
    """Make the mailbox's tools over a directory of `<id>.json` messages."""

    def list_inbox(arguments: Arguments) -> str:
        summaries = []
        for file in sorted(inbox.glob("*.json")):
            mail = json.loads(file.read_text(encoding="utf-8"))
            summaries.append({"id": file.stem, "from": mail["from"], "subject": mail["subject"]})
        return json.dumps(summaries, ensure_ascii=False, indent=1)

    def read(arguments: Arguments) -> str:
        files = {file.stem: file for file in inbox.glob("*.json")}
        if arguments["id"] not in files:
            raise ToolError("there is no message with this id")
        return files[arguments["id"]].read_text(encoding="utf-8")

    def send(arguments: Arguments) -> str:
        return f"sent to {len(arguments['to'])} recipient(s)"

    text = {"type": "string"}
    recipients = {"type": "array", "items": text, "minItems": 1, "maxItems": 20}
    return (
        Tool("list", "List the messages in the inbox: id, sender and subject.", {}, list_inbox),
        Tool("read", "Read one message of the inbox.", {"id": text}, read),
        Tool("send", "Send a message.", {"to": recipients, "subject": text, "body": text}, send),
    )


if __name__ == "__main__":
    state = directory("MAIL_DIR")
    serve("mail", tools(state / "inbox"), Journal(state))
