"""The web as an MCP server: `fetch`, offline. Canned pages are served; every requested URL is journaled."""

from __future__ import annotations

import json
from pathlib import Path

from trionyx_agents.demo.journal import Journal
from trionyx_agents.demo.server import Arguments, Tool, directory, serve


def tools(pages: Path) -> tuple[Tool, ...]:
    """Make the web's one tool over a JSON object of URL to page text."""

    def fetch(arguments: Arguments) -> str:
        # Any other URL answers too, as a collecting server would: what was in it has then left the house.
        known: dict[str, str] = json.loads(pages.read_text(encoding="utf-8"))
        return known.get(arguments["url"], "ok")

    return (Tool("fetch", "Fetch a web page as text.", {"url": {"type": "string"}}, fetch),)


if __name__ == "__main__":
    state = directory("WEB_DIR")
    serve("web", tools(state / "pages.json"), Journal(state))
