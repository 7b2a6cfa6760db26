"""One open call: where it stands and everything the run must remember about it until it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from trionyx_policies.decision import Decision
from trionyx_proxy.core.account import PolicyVersion
from trionyx_proxy.core.approval import Approval, Ask, Unapproved
from trionyx_proxy.core.label import TOP, Label
from trionyx_proxy.core.request import CallId, Failure, Refusal, Rejection, Request, Result
from trionyx_proxy.core.verdict import Verdict
from trionyx_proxy.errors import ProtocolError


class State(StrEnum):
    """Where a call stands; each state but the first and the last awaits exactly one answer of the world."""

    NEW = "new"
    DECIDING = "deciding"
    TRANSFORMING = "transforming"
    RECORDING_ASK = "recording ask"
    AWAITING_APPROVAL = "awaiting approval"
    RECORDING_DENIAL = "recording denial"
    RECORDING_INTENT = "recording intent"
    FORWARDED = "forwarded"
    WITHDRAWING = "withdrawing"
    RECORDING_OUTCOME = "recording outcome"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call between its arrival and its end.

    Args:
        subject: the request as decided; or the rejection; None when neither matters any more.
        seen: the run's label without what this call itself will add to it.
        fingerprint: keyed digest of the call as it arrived; "" for a rejection.
        changed: the request with transformed arguments, before it is decided.
        original: the arguments as they arrived, once different ones have taken their place, else b"".
        transformed: the policy has had arguments of this call changed.
        document: the policy input last asked about, and `asked` the label and policy it was asked under.
        decisions: how often the policy was asked, since a person last approved.
        ask: the question a person is being asked, and `asks` how many there were.
        given: the approval that came last, before anything is made of it.
        approval: the approval that the call may be released under.
        unapproved: why the last question brought no approval; `question` is its id.
        intents: how many intent records were emitted.
        counted: the effect under which the first intent was counted, or "".
        decision, verdict: the policy's last answer, and what the host makes of it.
        engine_code: why the policy gave no answer, or "".
        cancelled: the agent has withdrawn the call.
        refusal: what the agent will be told, once that is known.
    """

    id: CallId
    subject: Request | Rejection | None
    seen: Label
    state: State = State.NEW
    fingerprint: str = ""
    changed: Request | None = None
    original: bytes = b""
    transformed: bool = False
    document: bytes = b""
    asked: tuple[Label, PolicyVersion] | None = None
    decisions: int = 0
    ask: Ask | None = None
    asks: int = 0
    given: Approval | None = None
    approval: Approval | None = None
    unapproved: Unapproved | None = None
    question: str = ""
    intents: int = 0
    counted: str = ""
    decision: Decision | None = None
    verdict: Verdict | None = None
    engine_code: str = ""
    result: Result | None = None
    failure: Failure | None = None
    cancelled: bool = False
    refusal: Refusal | None = None

    @property
    def request(self) -> Request:
        """The request.

        Raises:
            ProtocolError: this is a rejected message, which has none.
        """
        if isinstance(self.subject, Request):
            return self.subject
        raise ProtocolError(f"`{self.id}` has no request")

    def forwarded(self) -> OpenCall:
        """Give what must be remembered of a call that is with the tool: nothing of its decision."""
        return OpenCall(
            self.id, self.subject, self.seen, self.state, intents=self.intents, cancelled=self.cancelled
        )

    def ending(self, refusal: Refusal | None) -> OpenCall:
        """Give what must be remembered of a call whose last record is under way: only what will be told."""
        return OpenCall(self.id, None, TOP, self.state, result=self.result, refusal=refusal)

    @property
    def judged(self) -> Verdict:
        """The verdict.

        Raises:
            ProtocolError: the policy has not answered.
        """
        if self.verdict is not None:
            return self.verdict
        raise ProtocolError(f"`{self.id}` has no verdict")

    @property
    def question_put(self) -> Ask:
        """What a person is to be asked.

        Raises:
            ProtocolError: nothing.
        """
        if self.ask is not None:
            return self.ask
        raise ProtocolError(f"`{self.id}` has no question")

    @property
    def approval_given(self) -> Approval:
        """The approval that has just been given.

        Raises:
            ProtocolError: none was.
        """
        if self.given is not None:
            return self.given
        raise ProtocolError(f"`{self.id}` has no approval")

    @property
    def answer(self) -> Result:
        """The result.

        Raises:
            ProtocolError: none has arrived.
        """
        if self.result is not None:
            return self.result
        raise ProtocolError(f"`{self.id}` has no result")
