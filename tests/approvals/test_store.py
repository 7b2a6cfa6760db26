"""The approvals file: who wins a race, what is over, what is proven, and what a damaged file does."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from trionyx_proxy.approvals.question import Matter, Question
from trionyx_proxy.approvals.rows import Entry, Scope, Standing
from trionyx_proxy.approvals.sealing import KEY_NAME, Seal
from trionyx_proxy.approvals.store import FILE_NAME, KEPT_MS, ApprovalStore
from trionyx_proxy.errors import StateError
from trionyx_testing.asking import QUESTION

NOW_MS = 1_763_690_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock) -> Callable[[], ApprovalStore]:
    return lambda: ApprovalStore.open(tmp_path, clock)


def ask(
    store: ApprovalStore, subject: str = "s1", ttl_ms: int = 1_000, question: Question = QUESTION
) -> Entry:
    entry = store.draft(
        question, subject=subject, binding="b1", rules=["PROV-002"], expires_ms=NOW_MS + ttl_ms
    )
    assert entry is not None
    store.put(entry)
    return entry


def test_a_question_is_kept_as_it_was(open_store: Callable[[], ApprovalStore]) -> None:
    entry = ask(open_store())
    assert open_store().get(entry.id) == entry
    assert open_store().find("01JRUN", "s1") == (entry,)
    assert open_store().find("01JRUN", "s2") == () == open_store().find("01JOTHER", "s1")


@pytest.mark.guarantee("G32")
def test_of_many_answers_at_once_one_counts(open_store: Callable[[], ApprovalStore]) -> None:
    entry = ask(open_store())
    stores = [open_store() for _ in range(8)]

    def answer(number: int) -> bool:
        try:
            if number % 2:
                stores[number].approve(entry.id, f"user{number}", scope=Scope.RUN)
            else:
                stores[number].reject(entry.id, f"user{number}")
        except StateError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(answer, range(8)))
    assert won.count(True) == 1
    found = open_store().get(entry.id)
    assert found is not None and found.by == f"user{won.index(True)}"
    given = open_store().endorsements()
    assert len(given) == (1 if found.standing is Standing.APPROVED else 0), "who loses vouches for nothing"


@pytest.mark.guarantee("G32")
def test_of_many_claims_at_once_one_succeeds(open_store: Callable[[], ApprovalStore]) -> None:
    entry = ask(open_store())
    approved, _ = open_store().approve(entry.id, "dana")
    stores = [open_store() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda store: store.claim(approved), stores)).count(True) == 1


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize("standing", ["approved", "rejected", "used", "expired"])
def test_an_answer_is_final(open_store: Callable[[], ApprovalStore], clock: Clock, standing: str) -> None:
    store = open_store()
    entry = ask(store)
    match standing:
        case "rejected":
            store.reject(entry.id, "dana", "no")
        case "expired":
            clock.now_ms += 1_000
        case _:
            approved, _ = store.approve(entry.id, "dana")
            assert standing == "approved" or store.claim(approved)
    with pytest.raises(StateError, match=standing):
        store.approve(entry.id, "emma")
    with pytest.raises(StateError, match=standing):
        store.reject(entry.id, "emma")
    with pytest.raises(StateError, match="no such"):
        store.approve("01JNOBODY", "emma")


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(("passed_ms", "is_taken"), [(999, True), (1_000, False), (5_000, False)])
def test_an_approval_is_over_with_its_question(
    open_store: Callable[[], ApprovalStore], clock: Clock, passed_ms: int, is_taken: bool
) -> None:
    store = open_store()
    approved, _ = store.approve(ask(store).id, "dana")
    clock.now_ms += passed_ms
    assert store.claim(approved) is is_taken
    assert len(store.find("01JRUN", "s1")) == 0


@pytest.mark.guarantee("G32")
@pytest.mark.parametrize(
    "change",
    ["by = 'mallory'", "binding = 'b2'", "subject = 's2'", "expires_ms = expires_ms + 1", "run = '01JOTHER'"],
)
def test_a_changed_row_proves_nothing(
    open_store: Callable[[], ApprovalStore], tmp_path: Path, change: str
) -> None:
    store = open_store()
    approved, _ = store.approve(ask(store).id, "dana")
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute(f"UPDATE approval SET {change}")  # noqa: S608 - the changes above
    connection.close()
    found = store.get(approved.id)
    assert found is None or not store.claim(found)


@pytest.mark.guarantee("G32")
def test_a_no_cannot_be_turned_into_a_yes(open_store: Callable[[], ApprovalStore], tmp_path: Path) -> None:
    store = open_store()
    rejected = store.reject(ask(store).id, "dana")
    assert store.is_proven(rejected)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute("UPDATE approval SET standing = 'approved'")
    connection.close()
    found = store.get(rejected.id)
    assert found is not None and not store.claim(found)


@pytest.mark.guarantee("G33")
def test_only_values_that_name_something_and_have_no_origin_are_vouched_for(
    open_store: Callable[[], ApprovalStore],
) -> None:
    store = open_store()
    _, given = store.approve(ask(store).id, "dana", scope=Scope.RUN)
    (endorsement,) = given
    assert (endorsement.value, endorsement.tool, endorsement.tenant) == (
        "X@evil.example",
        "mail__send",
        "acme",
    )
    assert endorsement.digest == store.digest("acme", "email", "target", "x@EVIL.example"), "the same address"
    assert store.endorsements(tenant="acme") == given
    assert store.endorsements(tenant="evil") == ()


TWO = replace(
    QUESTION,
    matters=(
        *QUESTION.matters,
        Matter("/cc", "target", "email", "eve@evil.example", "public", ()),
        *(Matter("/more/*", "target", "email", f"{name}@evil.example", "public", ()) for name in "ab"),
    ),
)


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize(
    ("only", "values"),
    [
        (None, ["X@evil.example", "eve@evil.example", "a@evil.example", "b@evil.example"]),
        (["/cc"], ["eve@evil.example"]),
        (["/to/0", "/cc", "/cc"], ["X@evil.example", "eve@evil.example"]),
    ],
)
def test_a_person_vouches_for_the_values_that_they_name(
    open_store: Callable[[], ApprovalStore], only: list[str] | None, values: list[str]
) -> None:
    store = open_store()
    _, given = store.approve(ask(store, question=TWO).id, "dana", scope=Scope.RUN, only=only)
    assert [endorsement.value for endorsement in given] == values
    assert set(store.endorsements()) == set(given)


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize(
    "only",
    [
        [],
        ["/bcc"],
        ["/cc", "/to/1"],  # it has an origin
        ["/cc", "/body"],  # a text
        ["/cc", "/sum"],  # not of its kind
        ["/more/*"],  # two of that name
        ["/to"],
    ],
)
def test_who_names_a_value_that_cannot_be_vouched_for_says_nothing(
    open_store: Callable[[], ApprovalStore], only: list[str]
) -> None:
    store = open_store()
    id_ = ask(store, question=TWO).id
    with pytest.raises(StateError, match="one of the named values"):
        store.approve(id_, "dana", scope=Scope.RUN, only=only)
    found = store.get(id_)
    assert found is not None and found.standing is Standing.PENDING and store.endorsements() == ()


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize("only", [[], ["/cc"]])
def test_who_names_values_and_not_how_far_is_told_that(
    open_store: Callable[[], ApprovalStore], only: list[str]
) -> None:
    store = open_store()
    id_ = ask(store, question=TWO).id
    with pytest.raises(StateError, match="endorse them once, run or always"):
        store.approve(id_, "dana", only=only)
    found = store.get(id_)
    assert found is not None and found.standing is Standing.PENDING and store.endorsements() == ()


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize(
    "other", [("evil", "email", "target"), ("acme", "id", "target"), ("acme", "email", "selector")]
)
def test_a_value_is_another_in_another_tenant_kind_or_role(
    open_store: Callable[[], ApprovalStore], other: tuple[str, str, str]
) -> None:
    store = open_store()
    assert store.digest(*other, "x@evil.example") != store.digest("acme", "email", "target", "x@evil.example")
    assert store.digest("acme", "no such kind", "target", "x") is None


@pytest.mark.guarantee("G33")
@pytest.mark.parametrize(
    "change", ["role = 'selector'", "tenant = 'evil'", "scope = 'always'", "tool = '*'", "by = 'x'"]
)
def test_an_endorsement_that_was_changed_counts_for_nothing(
    open_store: Callable[[], ApprovalStore], tmp_path: Path, change: str
) -> None:
    store = open_store()
    store.approve(ask(store).id, "dana", scope=Scope.RUN)
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    with connection:
        connection.execute(f"UPDATE endorsement SET {change}")  # noqa: S608 - the changes above
    connection.close()
    assert store.endorsements() == ()


def test_a_revocation_is_final(open_store: Callable[[], ApprovalStore]) -> None:
    store = open_store()
    _, (given,) = store.approve(ask(store).id, "dana", scope=Scope.ALWAYS)
    store.revoke(given.id, "emma")
    (found,) = store.endorsements()
    assert (found.revoked_ms, found.revoked_by) == (NOW_MS, "emma")
    assert replace(found, revoked_ms=0, revoked_by="") == given
    with pytest.raises(StateError):
        store.revoke(given.id, "emma")


def test_old_questions_are_dropped_and_endorsements_stay(
    open_store: Callable[[], ApprovalStore], clock: Clock
) -> None:
    store = open_store()
    store.approve(ask(store).id, "dana", scope=Scope.ALWAYS)
    clock.now_ms += 1_000 + KEPT_MS
    again = open_store()
    assert again.all() == () and len(again.endorsements()) == 1


def test_files_are_their_owners_only(open_store: Callable[[], ApprovalStore], tmp_path: Path) -> None:
    open_store()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    (tmp_path / KEY_NAME).chmod(0o640)
    with pytest.raises(StateError, match="chmod 600"):
        open_store()


@pytest.mark.parametrize("damage", ["zeros", "tables", "release"])
def test_a_damaged_or_foreign_file_is_refused(
    open_store: Callable[[], ApprovalStore], tmp_path: Path, damage: str
) -> None:
    open_store().close()
    path = tmp_path / FILE_NAME
    if damage == "zeros":
        path.write_bytes(b"\0" * 8_192)
    else:
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE other (x)" if damage == "tables" else "PRAGMA user_version = 9")
        connection.close()
    with pytest.raises(StateError):
        open_store()


def test_another_key_opens_nothing() -> None:
    seal, other = Seal(b"a" * 32), Seal(b"b" * 32)
    sealed = seal.close(b"data", "row 1")
    assert seal.open(sealed, "row 1") == b"data"
    for opener, bound in ((other, "row 1"), (seal, "row 2")):
        with pytest.raises(StateError):
            opener.open(sealed, bound)
    assert not other.is_proven(seal.prove("x", 1), "x", 1)
