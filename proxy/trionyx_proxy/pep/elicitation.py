"""Putting a question to the person at the agent's client (MCP elicitation, form mode).

Only where the client says that it can, and only if the operator vouches that a person sees it. The form asks for one
tick; anything but an explicit, complete yes is none. Source: MCP 2025-11-25, client features, elicitation. The later
revision has no requests from server to client, so there people are asked elsewhere.
"""

from __future__ import annotations

from typing import Any

from mcp.server.context import ServerRequestContext
from mcp_types import ClientCapabilities, ElicitationCapability

from trionyx_proxy.pep.seeking import Elicit

FORM = {
    "properties": {
        "approve": {
            "description": "Tick to let the agent make this one call, once.",
            "title": "Approve this call",
            "type": "boolean",
        }
    },
    "required": ["approve"],
    "type": "object",
}

_NEEDED = ClientCapabilities(elicitation=ElicitationCapability())


def elicitor(ctx: ServerRequestContext[Any, Any]) -> Elicit | None:
    """Return what asks the person at the client of a request; None where the client cannot ask."""
    session = ctx.session
    if not session.can_send_request or not session.check_client_capability(_NEEDED):
        return None

    async def elicit(text: str) -> bool | None:
        answer = await session.elicit_form(text, FORM, related_request_id=ctx.request_id)
        match answer.action:
            case "accept":
                return answer.content == {"approve": True}
            case "decline":
                return False
            case _:  # closed without an answer, or answered by a runtime without a person
                return None

    return elicit
