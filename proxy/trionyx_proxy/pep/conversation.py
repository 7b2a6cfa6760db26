"""The proxy's own tools for messages: send, receive, ask, answer.

The policy has decided on each call before; the host asks again at both ends who may talk to whom, and which label the
receiver is cleared for. A message carries the label of the run that sent it and nothing lower; only a typed answer to
a question that an untainted run asked counts as the organisation's word, and only its trust is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import anyio
import orjson

from trionyx_proxy.arguments import JSON, canonical
from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.account import Identity
from trionyx_proxy.core.evidence import OUTCOME
from trionyx_proxy.core.label import Integrity, Label
from trionyx_proxy.core.request import Request
from trionyx_proxy.errors import StateError
from trionyx_proxy.messages.letter import Asked, Envelope, Message
from trionyx_proxy.messages.mailbox import Allowance, Mailbox, Room
from trionyx_proxy.messages.peers import Peers
from trionyx_proxy.messages.questions import (
    Question,
    millibits,
    read_answers,
    read_questions,
    stored_questions,
)
from trionyx_proxy.messages.structure import MessageError, check_size, leaves, read_message
from trionyx_proxy.messages.wording import PARENT
from trionyx_proxy.pep.reception import Reception
from trionyx_proxy.pep.replies import Told, failed, recorded, said, secrecy, untrusting
from trionyx_proxy.provenance import Handles, Index, normal
from trionyx_proxy.token import Lineage, mint_ulid

BUDGET_RULE: Final = "PEERS-021"
"""The rule that asks a person whether a question may exceed the budget of bits; approval of another lifts nothing."""

_KINDS: Final = (
    ArgumentType.EMAIL,
    ArgumentType.URL,
    ArgumentType.IBAN,
    ArgumentType.DATE,
    ArgumentType.PHONE,
    ArgumentType.PATH,
)
"""What a whole value of a message may be vouched for as. Text vouches for nothing that it mentions."""


def received_calls(past: Iterable[tuple[str, Mapping[str, Any]]]) -> frozenset[str]:
    """Return the calls of a run whose result was delivered, or may have been: a recorded outcome, not withheld."""
    return frozenset(
        str(body.get("call"))
        for type_, body in past
        if type_ == OUTCOME and body.get("status") == "ok" and body.get("withheld") is False
    )


class Conversation:
    """One run's talk with others.

    Args:
        identity: of the run.
        parent: of a child run.
        mailbox: shared with all runs.
        peers: gives what the policy in force says of agents.
        label: gives the run's label as it is now.
        index: what the run knows about origins of values.
        handles: mints handles.
    """

    def __init__(
        self,
        identity: Identity,
        parent: Lineage | None,
        mailbox: Mailbox,
        *,
        peers: Callable[[], Peers],
        label: Callable[[], Label],
        index: Index,
        handles: Handles,
    ) -> None:
        self._identity = identity
        self._parent = parent
        self._above = () if parent is None else (parent.agent, *parent.above)
        self._mailbox = mailbox
        self._peers = peers
        self._label = label
        self._index = index
        self._reception = Reception(identity, mailbox, label=label, index=index, handles=handles)

    def peer_of(self, tool: str, arguments: JSON) -> dict[str, JSON]:
        """Return the fact `peer`: whom a call is for, and whether it asks for more bits than are left.

        `relation` is `none` where it cannot be told whom; where bits cannot be counted, none are left.
        """
        given = arguments if isinstance(arguments, dict) else {}
        match tool:
            case "trionyx_send" | "trionyx_ask":
                agent, run = self._addressee(str(given.get("to")))
                is_beyond = tool == "trionyx_ask" and self._is_beyond(agent, given.get("questions"))
                return _peer(agent, "parent" if run else "peer", is_beyond=is_beyond)
            case "trionyx_answer":
                try:
                    asked = self._asked(str(given.get("question_id")))
                except StateError:
                    asked = None
                return _peer("", "none") if asked is None else _peer(asked.asker_agent, "asker")
            case _:
                return {}

    async def call(
        self, request: Request, *, max_bytes: int, hides_text: bool, approved: Collection[str]
    ) -> Told:
        """Carry out one decided call; what cannot be is a tool error in the host's words.

        Args:
            request: as it was decided.
            max_bytes: limit on what is shown.
            hides_text: untrusted text becomes handles.
            approved: the rules that a person was told of who approved this very call.

        Raises:
            StateError: the mailbox cannot be used.
        """
        given: dict[str, Any] = orjson.loads(request.arguments)
        try:
            match request.tool.name:
                case "trionyx_send":
                    return await self._send(request, given)
                case "trionyx_receive":
                    return await self._reception.receive(
                        request, self._peers(), max_bytes=max_bytes, hides_text=hides_text
                    )
                case "trionyx_ask":
                    return await self._ask(request, given, approved)
                case "trionyx_answer":
                    return await self._answer(request, given)
                case _:
                    raise MessageError("no such tool")
        except MessageError as error:
            return failed(str(error))

    def ended(self, call: str, *, is_delivered: bool) -> None:
        """Note that a call is over, and let wait again what it took and the agent did not get."""
        self._reception.ended(call, is_delivered=is_delivered)

    async def _send(self, request: Request, given: Mapping[str, Any]) -> Told:
        agent, run = self._addressee(given["to"])
        # INVARIANT: whether hidden text has the form of a message is not told: what holds some is a text.
        content = (check_size if _is_handled(request) else read_message)(given["message"])
        label = _outgoing(self._label(), request)
        # A child may report to its parent whatever the lists say: whoever minted it meant it to.
        peers = self._permitted(agent, label, reports=bool(run))
        vouched = canonical(self._vouched(content, label))
        message = Message(self._envelope("message", agent, run, label, peers), canonical(content), vouched)
        await anyio.to_thread.run_sync(lambda: self._mailbox.put(message, _room(peers)))
        return Told(said({"sent": message.envelope.id}), (recorded(message.envelope, "sent"),))

    async def _ask(self, request: Request, given: Mapping[str, Any], approved: Collection[str]) -> Told:
        agent, _ = self._addressee(given["to"])
        questions = read_questions(given["questions"])
        label = _outgoing(self._label(), request)
        peers = self._permitted(agent, label, reports=False)
        if any(question.bits > peers.limits.bits_per_question for question in questions):
            raise MessageError("a question has more bits than one may have")
        asked = self._asking(agent, questions, peers, is_tainted=label.integrity is Integrity.PUBLIC)
        envelope = self._envelope("question", agent, "", label, peers, question=asked.id)
        message = Message(envelope, asked.questions, canonical({}))
        # What a person approved goes beyond the budget only if that is what the person was asked: the facts say that
        # it does, and the rule that says so was among those that asked.
        is_extended = BUDGET_RULE in approved and orjson.loads(request.facts)["peer"]["is_beyond_budget"]
        allowance = _allowance(peers, asked, is_extended=is_extended)
        await anyio.to_thread.run_sync(lambda: self._mailbox.ask(asked, message, allowance, _room(peers)))
        told = recorded(envelope, "sent", millibits=asked.millibits)
        return Told(said({"question_id": asked.id}), (told,))

    async def _answer(self, request: Request, given: Mapping[str, Any]) -> Told:
        if _is_handled(request):
            # Whether unread text is an answer would be told for nothing.
            raise MessageError("no handle may stand in an answer; send a message")
        asked = self._asked(given["question_id"])
        peers = self._peers()
        if asked is None or not self._may_answer(asked.asker_agent, peers):
            raise MessageError("there is no such question to answer")
        label, clearance = _outgoing(self._label(), request), peers.clearance(asked.asker_agent)
        # What comes back in types tells no more than was asked for; secrecy is another matter.
        is_cleared = (
            secrecy(label).flows_to(untrusting(clearance))
            if asked.category == 1
            else label.flows_to(clearance)
        )
        if not is_cleared:
            raise MessageError("that agent is not cleared for what this run has read")
        answers = read_answers(stored_questions(orjson.loads(asked.questions)), given["answers"])
        envelope = self._envelope(
            "answer", asked.asker_agent, asked.asker_run, label, peers, question=asked.id
        )
        message = Message(envelope, canonical(dict(answers)), canonical({}))
        # How often there are answers is limited by the questions.
        room = Room(peers.limits.max_waiting, 1 << 31)
        await anyio.to_thread.run_sync(lambda: self._mailbox.answer(message, room))
        return Told(said({"answered": asked.id}), (recorded(envelope, "sent"),))

    def _is_beyond(self, agent: str, given: Any) -> bool:
        peers = self._peers()
        try:
            asked = self._asking(agent, read_questions(given), peers, is_tainted=True)
            return self._mailbox.is_beyond(asked, _allowance(peers, asked))
        except MessageError:
            return False  # what is no question is not asked, however the call is decided
        except StateError:
            return True

    def _asking(self, agent: str, questions: Sequence[Question], peers: Peers, *, is_tainted: bool) -> Asked:
        now = _now_ms()
        return Asked(
            id=mint_ulid(),
            tenant=self._identity.tenant,
            user=self._identity.user,
            asker_agent=self._identity.agent,
            asker_run=self._identity.run,
            answerer_agent=agent,
            category=questions[0].category,
            millibits=millibits(questions),
            asked_ms=now,
            expires_ms=now + peers.limits.expires_s * 1_000,
            is_tainted=is_tainted,
            questions=canonical([question.to_json() for question in questions]),
        )

    def _vouched(self, content: JSON, label: Label) -> dict[str, JSON]:
        """Return what of a message this run vouches for: whole values whose origin it trusts, by their number."""
        vouched: dict[str, JSON] = {}
        if label.integrity is Integrity.PUBLIC:
            return vouched
        for number, (_, value) in enumerate(leaves(content)):
            kind = next((kind for kind in _KINDS if normal(kind, value) is not None), None)
            if kind is None or not isinstance(value, str):
                continue
            integrity = self._index.origin(value, kind, Role.TARGET).label.integrity
            if integrity is not Integrity.PUBLIC:
                vouched[str(number)] = [kind.value, max(integrity, label.integrity).name.lower()]
        return vouched

    def _addressee(self, to: str) -> tuple[str, str]:
        """Return an agent, and the one run that is meant or ""."""
        if to == PARENT and self._parent is not None:
            return self._parent.agent, self._parent.run
        return to, ""

    def _may_address(self, agent: str, peers: Peers) -> bool:
        """Tell whether this run and each run above it may send to an agent: a child has no right of its own."""
        return peers.permits(self._identity.agent, agent) and all(
            above == agent or peers.permits(above, agent) for above in self._above
        )

    def _may_answer(self, asker: str, peers: Peers) -> bool:
        return peers.permits(asker, self._identity.agent) and all(
            above == asker or peers.permits(asker, above) for above in self._above
        )

    def _permitted(self, agent: str, label: Label, *, reports: bool) -> Peers:
        peers = self._peers()
        if not reports and not self._may_address(agent, peers):
            raise MessageError("messages between these agents are not allowed")
        if not label.flows_to(peers.clearance(agent)):
            raise MessageError("that agent is not cleared for what this run has read")
        return peers

    def _asked(self, question: str) -> Asked | None:
        """Return a question that this run may answer."""
        asked = self._mailbox.asked(question)
        me = self._identity
        if asked is None or (asked.tenant, asked.answerer_agent) != (me.tenant, me.agent):
            return None
        return asked if asked.user == me.user or self._peers().any_user(me.agent) else None

    def _envelope(
        self, kind: str, agent: str, run: str, label: Label, peers: Peers, *, question: str = ""
    ) -> Envelope:
        me, now = self._identity, _now_ms()
        return Envelope(
            id=mint_ulid(),
            tenant=me.tenant,
            user=me.user,
            kind=kind,
            from_agent=me.agent,
            from_run=me.run,
            to_agent=agent,
            to_run=run,
            question=question,
            label=label,
            sent_ms=now,
            expires_ms=now + peers.limits.expires_s * 1_000,
        )


def _outgoing(label: Label, request: Request) -> Label:
    """Return the label of what a run says: all it has seen, no more trusted than the organisation's word.

    What stands behind a handle is untrusted though the run was never shown it.
    """
    return label.join(Label(Integrity.PUBLIC if _is_handled(request) else Integrity.ORG))


def _is_handled(request: Request) -> bool:
    origins = orjson.loads(request.facts).get("origins", [])
    return any(origin["handle"] for origin in origins)


def _allowance(peers: Peers, asked: Asked, *, is_extended: bool = False) -> Allowance:
    limits = peers.limits
    rate = peers.rate(asked.asker_agent, asked.answerer_agent, asked.category)
    return Allowance(limits.bits_per_run, limits.bits_per_pair, rate, is_extended)


def _room(peers: Peers) -> Room:
    return Room(peers.limits.max_waiting, peers.limits.per_hour)


def _peer(agent: str, relation: str, *, is_beyond: bool = False) -> dict[str, JSON]:
    return {"peer": {"agent": agent, "is_beyond_budget": is_beyond, "relation": relation}}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
