"""Origins: whose word a whole value has, and that neither untrusted text nor more results can make it better."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trionyx_proxy.catalog import ArgumentType, Role
from trionyx_proxy.core.label import Integrity, Label, Level
from trionyx_proxy.provenance import EMPTY, NOWHERE, Index, IndexLimits, Leaf, Source, id_scope, prompt_words
from trionyx_proxy.provenance.mentions import things
from trionyx_proxy.provenance.values import Scalar

A, R = ArgumentType, Role
KEY = b"k" * 32
USER, SYSTEM, ORG, PUBLIC = (Label(rank) for rank in Integrity)
PROMPT = (
    "Pay $1,200.50 to DE89 3704 0044 0532 0130 00 on May 20th 2024 at 10am for 1 hour and mail jonas@corp.example. "
    'See https://www.a.com/x?y=1 and www.b.com. Invite Alice Smith to "general", delete file 13 on June 13. '
    "Book 'Lunch with Sarah'. Read report.docx and /notes/today.md, call +41 79 123 45 67."
)


def leaf(value: Scalar, kind: ArgumentType, label: Label = SYSTEM, scope: str = "") -> Leaf:
    return Leaf("/0", value, kind, label, scope)


def index(*leaves: Leaf, prompt: str = PROMPT) -> Index:
    made = Index(prompt_words(prompt, KEY), KEY)
    made.add("c1", "mail__read", leaves)
    return made


ASKED: list[tuple[Scalar, ArgumentType, Role, Integrity]] = [
    ("1200.5", A.AMOUNT, R.AMOUNT, Integrity.USER),
    (1200.5, A.AMOUNT, R.AMOUNT, Integrity.USER),
    ("1200", A.AMOUNT, R.AMOUNT, Integrity.PUBLIC),
    ("DE89370400440532013000", A.IBAN, R.TARGET, Integrity.USER),
    ("DE8937040044053201300", A.IBAN, R.TARGET, Integrity.PUBLIC),
    ("2024-05-20", A.DATE, R.WHEN, Integrity.USER),
    ("2024-05-20 10:00", A.DATE, R.WHEN, Integrity.USER),
    ("2024-05-20T11:00:00Z", A.DATE, R.WHEN, Integrity.USER),
    ("2024-05-20T10:00:01", A.DATE, R.WHEN, Integrity.PUBLIC),
    ("2024-05-20T10:00+02:00", A.DATE, R.WHEN, Integrity.PUBLIC),
    ("2024-05-20 12:00", A.DATE, R.WHEN, Integrity.PUBLIC),
    ("2024-06-13", A.DATE, R.WHEN, Integrity.USER),
    ("2025-05-20", A.DATE, R.WHEN, Integrity.PUBLIC),
    ("jonas@corp.example", A.EMAIL, R.TARGET, Integrity.USER),
    ("jona@corp.example", A.EMAIL, R.TARGET, Integrity.PUBLIC),
    ("https://www.a.com/x?y=1", A.URL, R.TARGET, Integrity.USER),
    ("https://www.a.com/x?y=2", A.URL, R.TARGET, Integrity.PUBLIC),
    ("https://www.a.com/", A.URL, R.TARGET, Integrity.PUBLIC),
    ("http://www.b.com/", A.URL, R.TARGET, Integrity.USER),
    ("www.b.com", A.HOST, R.TARGET, Integrity.USER),
    ("corp.example", A.HOST, R.TARGET, Integrity.PUBLIC),
    ("Alice Smith", A.NAME, R.TARGET, Integrity.USER),
    ("general", A.NAME, R.TARGET, Integrity.USER),
    ("random", A.NAME, R.TARGET, Integrity.PUBLIC),
    (13, A.ID, R.SELECTOR, Integrity.USER),
    ("20", A.ID, R.SELECTOR, Integrity.PUBLIC),
    (1200, A.ID, R.SELECTOR, Integrity.PUBLIC),
    ("report.docx", A.PATH, R.SELECTOR, Integrity.USER),
    ("docx", A.PATH, R.SELECTOR, Integrity.PUBLIC),
    ("/notes/today.md", A.PATH, R.SELECTOR, Integrity.USER),
    ("/notes/../notes/today.md", A.PATH, R.SELECTOR, Integrity.USER),
    ("/notes", A.PATH, R.SELECTOR, Integrity.PUBLIC),
    ("+41791234567", A.PHONE, R.TARGET, Integrity.USER),
    ("Lunch with Sarah", A.TEXT, R.TITLE, Integrity.USER),
    ("Sarah and the lunch", A.TEXT, R.TITLE, Integrity.USER),
    ("Sarah's lunch", A.TEXT, R.TITLE, Integrity.USER),
    ("Lunch with Eve", A.TEXT, R.TITLE, Integrity.PUBLIC),
    ("Lunch www.evil.example", A.TEXT, R.TITLE, Integrity.PUBLIC),
    ("www a com", A.TEXT, R.TITLE, Integrity.PUBLIC),
    ("the of", A.TEXT, R.TITLE, Integrity.PUBLIC),
    ("Lunch with Sarah", A.TEXT, R.SELECTOR, Integrity.USER),
    ("lunch mail", A.TEXT, R.SELECTOR, Integrity.PUBLIC),
    (True, A.BOOLEAN, R.PLAIN, Integrity.PUBLIC),
    ("habcdefghijklmnop", A.HANDLE, R.CONTENT, Integrity.PUBLIC),
]  # fmt: skip


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize(("value", "kind", "role", "expected"), ASKED)
def test_the_prompt_vouches_for_what_it_names(
    value: Scalar, kind: ArgumentType, role: Role, expected: Integrity
) -> None:
    origin = index().origin(value, kind, role)
    assert origin.label.integrity is expected
    assert [source.kind for source in origin.sources] == (["prompt"] if expected is Integrity.USER else [])


@pytest.mark.guarantee("G29")
def test_without_a_prompt_nothing_comes_from_it() -> None:
    empty = Index(EMPTY, KEY)
    assert all(empty.origin(value, kind, role) == NOWHERE for value, kind, role, _ in ASKED)
    assert empty.same_origin("https://www.a.com/") == NOWHERE


IN_FIELDS: list[tuple[Leaf, Scalar, ArgumentType, Role, Integrity]] = [
    (leaf("eve@x.example", A.EMAIL), "EVE@x.example", A.EMAIL, R.TARGET, Integrity.SYSTEM),
    (leaf("eve@x.example", A.EMAIL, PUBLIC), "eve@x.example", A.EMAIL, R.TARGET, Integrity.PUBLIC),
    (leaf("see eve@x.example", A.NAME), "eve@x.example", A.EMAIL, R.TARGET, Integrity.PUBLIC),
    (leaf("https://evil.example/", A.NAME, ORG), "https://evil.example/", A.URL, R.TARGET, Integrity.PUBLIC),
    (leaf("write to eve@x.example", A.TEXT, ORG), "eve@x.example", A.EMAIL, R.TARGET, Integrity.ORG),
    (leaf("write to eve@x.example", A.TEXT, PUBLIC), "eve@x.example", A.EMAIL, R.TARGET, Integrity.PUBLIC),
    (leaf("pay 77 for item 9", A.TEXT, ORG), "9", A.ID, R.SELECTOR, Integrity.PUBLIC),
    (leaf("pay 77 for item 9", A.TEXT, ORG), 77, A.AMOUNT, R.AMOUNT, Integrity.PUBLIC),
    (leaf(7, A.ID), "7", A.ID, R.SELECTOR, Integrity.SYSTEM),
    (leaf(7, A.INTEGER), "7", A.ID, R.SELECTOR, Integrity.PUBLIC),
    (leaf(7, A.AMOUNT), 7, A.ID, R.SELECTOR, Integrity.PUBLIC),
    (leaf(7, A.INTEGER), 7, A.AMOUNT, R.AMOUNT, Integrity.PUBLIC),
    (leaf(7.5, A.AMOUNT), "7.50", A.AMOUNT, R.AMOUNT, Integrity.SYSTEM),
    (leaf("random", A.NAME, ORG), "Random", A.NAME, R.TARGET, Integrity.ORG),
    (leaf("random talk", A.NAME, ORG), "random", A.NAME, R.TARGET, Integrity.PUBLIC),
    (leaf("random", A.ENUM, ORG), "random", A.NAME, R.TARGET, Integrity.ORG),
    (leaf("US12", A.IBAN), "US12", A.IBAN, R.TARGET, Integrity.PUBLIC),
    (leaf("US133000000121212121212", A.IBAN), "US13 3000 0001 2121 2121 212", A.IBAN, R.TARGET, Integrity.SYSTEM),
    (leaf("2024-07-01T09:30", A.DATE), "2024-07-01 09:30", A.DATE, R.WHEN, Integrity.SYSTEM),
    (leaf("2024-07-01T09:30", A.DATE), "2024-07-01", A.DATE, R.WHEN, Integrity.SYSTEM),
    (leaf("2024-07-01T09:30", A.DATE), "2024-05-20 09:30", A.DATE, R.WHEN, Integrity.SYSTEM),
    (leaf("2024-07-01T09:30", A.DATE), "2024-07-02 09:30", A.DATE, R.WHEN, Integrity.PUBLIC),
    (leaf("Budget review", A.TEXT, ORG), "Lunch with Sarah: budget", A.TEXT, R.TITLE, Integrity.ORG),
    (leaf("Budget review", A.TEXT, PUBLIC), "Lunch with Sarah: budget", A.TEXT, R.TITLE, Integrity.PUBLIC),
    (leaf("Budget review", A.TEXT, ORG), "budget review", A.TEXT, R.SELECTOR, Integrity.ORG),
    (leaf("true", A.BOOLEAN), True, A.BOOLEAN, R.PLAIN, Integrity.PUBLIC),
    (leaf("https://www.c.com/x", A.URL, ORG), "https://www.c.com/x", A.URL, R.TARGET, Integrity.ORG),
    (leaf("https://www.c.com/x", A.URL, ORG), "www.c.com", A.HOST, R.TARGET, Integrity.PUBLIC),
]  # fmt: skip


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize(("known", "value", "kind", "role", "expected"), IN_FIELDS)
def test_trusted_fields_vouch_for_their_whole_value_in_their_kind(
    known: Leaf, value: Scalar, kind: ArgumentType, role: Role, expected: Integrity
) -> None:
    origin = index(known).origin(value, kind, role)
    assert origin.label.integrity is expected
    assert bool(origin.sources) is (expected is not Integrity.PUBLIC)


@pytest.mark.guarantee("G29")
def test_ids_of_two_servers_or_things_are_not_the_same() -> None:
    made = index(leaf("41", A.ID, scope="calendar"), leaf("42", A.ID, scope="drive/file"))
    assert made.origin("41", A.ID, R.SELECTOR, "calendar").sources
    assert made.origin("42", A.ID, R.SELECTOR, "drive/file").sources
    assert made.origin("42", A.ID, R.SELECTOR, "drive").sources
    for value, scope in (("41", "drive/file"), ("42", "calendar"), ("42", "drive/mail"), ("42", "mail")):
        assert made.origin(value, A.ID, R.SELECTOR, scope) == NOWHERE
    assert made.origin("13", A.ID, R.SELECTOR, "drive/file").sources  # the prompt says `file 13`
    assert made.origin("13", A.ID, R.SELECTOR, "calendar/event") == NOWHERE


THINGS = [
    (("file_id",), "search", ("file",)),
    (("fileId",), "search", ("file",)),
    (("mails", "id"), "read", ("email",)),
    (("id_",), "search_calendar_events", ("calendar", "event")),
    ((), "list_files", ("file",)),
    (("id",), "get_by_id", ("drive",)),
    (("id",), "list", ("drive",)),
    (("id",), "delete", ("drive",)),
    (("category_id",), "x", ("category",)),
    (("address_id",), "x", ("address",)),
]


@pytest.mark.parametrize(("names", "tool", "expected"), THINGS)
def test_names_say_what_an_id_is_the_id_of(
    names: tuple[str, ...], tool: str, expected: tuple[str, ...]
) -> None:
    assert things(names, tool, "drive") == expected
    scope = id_scope("drive", *expected)
    made = index(leaf("41", A.ID, scope=scope))
    for name in expected:
        assert made.origin("41", A.ID, R.SELECTOR, id_scope("drive", name)).sources
    assert made.origin("41", A.ID, R.SELECTOR, id_scope("drive", "id")).sources
    assert made.origin("41", A.ID, R.SELECTOR).sources
    for other in (id_scope("drive", "person"), id_scope("mail", expected[0]), id_scope("mail")):
        assert made.origin("41", A.ID, R.SELECTOR, other) == NOWHERE


@pytest.mark.guarantee("G29")
def test_a_url_is_of_the_same_origin_only_with_scheme_host_and_port() -> None:
    made = index(leaf("https://docs.c.com:8443/x", A.URL, ORG))
    expected = {
        "https://www.a.com/other": Integrity.USER,
        "http://www.a.com/other": Integrity.PUBLIC,
        "https://a.com/": Integrity.PUBLIC,
        "https://www.a.com.evil.example/": Integrity.PUBLIC,
        "https://www.a.com:8443/": Integrity.PUBLIC,
        "https://www.a.com@evil.example/": Integrity.PUBLIC,
        "http://www.b.com/anything?x": Integrity.USER,
        "https://docs.c.com:8443/y": Integrity.ORG,
        "https://docs.c.com/y": Integrity.PUBLIC,
        "nonsense": Integrity.PUBLIC,
    }
    assert {url: made.same_origin(url).label.integrity for url in expected} == expected


def test_the_best_source_comes_first_and_says_where_it_is() -> None:
    made = index()
    for number in range(6):
        made.add(f"c{number}", "crm__list", [Leaf(f"/{number}/mail", "eve@x.example", A.EMAIL, ORG)])
    made.add("c9", "dir__list", [Leaf("/9", "eve@x.example", A.EMAIL, Label(Integrity.SYSTEM, Level.SECRET))])
    origin = made.origin("eve@x.example", A.EMAIL, R.TARGET)
    assert origin.label == Label(Integrity.SYSTEM, Level.SECRET)
    assert origin.sources[0] == Source("result", "c9", "dir__list", "/9")
    assert [source.call for source in origin.sources] == ["c9", "c0", "c1", "c2"]


@pytest.mark.guarantee("G33")
def test_an_endorsement_holds_for_one_value_and_role_until_revoked() -> None:
    made, act, other = index(), Source("endorsement", "a1"), Source("endorsement", "a2")
    made.endorse(A.EMAIL, "eve@x.example", R.TARGET, act)
    made.endorse(A.EMAIL, "Eve@X.example", R.TARGET, other)
    made.endorse(A.EMAIL, "not an address", R.TARGET, act)
    origin = made.origin("EVE@x.example", A.EMAIL, R.TARGET)
    assert (origin.label, origin.sources) == (USER, (act, other))
    assert made.origin("eve@x.example", A.EMAIL, R.SELECTOR) == NOWHERE
    assert made.origin("eva@x.example", A.EMAIL, R.TARGET) == NOWHERE
    made.revoke(A.EMAIL, "eve@x.example", R.TARGET, act)
    assert made.origin("eve@x.example", A.EMAIL, R.TARGET).sources == (other,)
    made.revoke(A.EMAIL, "eve@x.example", R.TARGET)
    assert made.origin("eve@x.example", A.EMAIL, R.TARGET) == NOWHERE


def test_an_extracted_value_counts_as_the_organisations_at_most() -> None:
    made, extract = index(), Source("handle", "c4", pointer="/0/body")
    made.endorse(A.DATE, "2024-09-09", R.WHEN, extract)
    origin = made.origin("2024-09-09", A.DATE, R.WHEN)
    assert (origin.label.integrity, origin.sources) == (Integrity.ORG, (extract,))


@pytest.mark.guarantee("G29")
@pytest.mark.parametrize("limits", [IndexLimits(values=50), IndexLimits(bytes=400), IndexLimits(shingles=40)])
def test_at_a_bound_nothing_more_is_learnt_and_everything_is_public(limits: IndexLimits) -> None:
    made = Index(prompt_words(PROMPT, KEY), KEY, limits=limits)
    made.add("c0", "t", [leaf("first@x.example", A.EMAIL)])
    for number in range(60):
        made.add(f"c{number}", "t", [leaf(f"m{number}@x.example", A.EMAIL), leaf(f"name {number}", A.NAME)])
        made.wrote([f"some text {number} that was written"])
    assert made.is_saturated
    late = leaf("late@x.example", A.EMAIL)
    assert [one.label.integrity for one in made.relabel([late])] == [Integrity.PUBLIC]
    made.add("c99", "t", made.relabel([late]))
    assert made.origin("late@x.example", A.EMAIL, R.TARGET) == NOWHERE
    assert made.origin("first@x.example", A.EMAIL, R.TARGET).sources
    assert made.origin("jonas@corp.example", A.EMAIL, R.TARGET).sources


@pytest.mark.guarantee("G30")
def test_what_was_written_since_a_call_was_prepared_is_known_to_its_result() -> None:
    made = index()
    own = made.own(["a question"])
    made.wrote(["eve@evil.example"])
    assert [one.label for one in made.relabel([leaf("eve@evil.example", A.EMAIL)], own)] == [PUBLIC]


@pytest.mark.guarantee("G30")
def test_what_cannot_be_learnt_in_full_ends_all_trust() -> None:
    made, odd = index(), ["a text", 7]
    made.wrote(odd)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        made.catch_up()
    assert [one.label for one in made.relabel([leaf("another text", A.TEXT)])] == [PUBLIC]


@pytest.mark.guarantee("G29")
def test_a_closed_index_has_read_nothing_ahead() -> None:
    made = index()
    assert made.origin("late@x.example", A.EMAIL, R.TARGET) == NOWHERE
    made.add("c2", "t", [leaf("Write to late@x.example.", A.TEXT)])
    made.catch_up()
    made.close()
    assert made.origin("late@x.example", A.EMAIL, R.TARGET) == NOWHERE


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from(["Lunch on May 21st", "m@x.example, a.com", "7 May 2024 at 9:30"])),
        st.tuples(st.just("wrote"), st.sampled_from(["lunch on may 21st", "m@x.example", "see a.com or b.com"])),
        st.tuples(
            st.just("origin"), st.sampled_from([A.EMAIL, A.DATE, A.TEXT, A.URL]), st.sampled_from([R.TITLE, R.WHEN])
        ),
    ),
    max_size=12,
)  # fmt: skip


@given(STEPS, st.data())
def test_it_makes_no_difference_when_what_waits_is_learnt(
    steps: list[tuple[str, ...]], data: st.DataObject
) -> None:
    seen: list[list[object]] = []
    for is_idle in (True, False):
        made, answers = index(), []
        for number, (step, *given_) in enumerate(steps):
            match step, given_:
                case "add", [text]:
                    leaves = made.relabel([leaf(text, A.TEXT, ORG), leaf(text, A.NAME, ORG)])
                    made.add(f"c{number}", "t", leaves)
                    answers.append(leaves)
                case "wrote", [text]:
                    made.wrote([text])
                case _, [kind, role]:
                    asked = ("m@x.example", "2024-05-21", "2024-05-07 09:30", "a.com", "lunch with m")
                    answers += [made.origin(value, A(kind), R(role)) for value in asked]
            if is_idle and data.draw(st.booleans()):
                made.catch_up()
        seen.append(answers)
    assert seen[0] == seen[1]


LABELS = st.builds(Label, st.sampled_from(Integrity), st.sampled_from(Level))
FITTING: list[tuple[str, ArgumentType, Role]] = [
    ("a@x.example", A.EMAIL, R.TARGET),
    ("https://a.com/x", A.URL, R.TARGET),
    ("www.a.com", A.URL, R.TARGET),
    ("www.a.com", A.HOST, R.TARGET),
    ("7", A.ID, R.SELECTOR),
    ("7", A.AMOUNT, R.AMOUNT),
    ("alpha", A.NAME, R.TARGET),
    ("alpha beta", A.TEXT, R.TITLE),
    ("beta alpha", A.TEXT, R.TITLE),
    ("2024-07-01T09:30", A.DATE, R.WHEN),
    ("2024-07-01", A.DATE, R.WHEN),
    ("DE89370400440532013000", A.IBAN, R.TARGET),
    ("/notes/a", A.PATH, R.SELECTOR),
    ("see a@x.example on 2024-07-01 at 9:30am", A.TEXT, R.SELECTOR),
]
KINDS = st.sampled_from(list(ArgumentType))
LEAF = st.one_of(
    st.builds(lambda one, label: Leaf("/0", one[0], one[1], label), st.sampled_from(FITTING), LABELS),
    st.builds(
        lambda one, kind, label: Leaf("/0", one[0], kind, label), st.sampled_from(FITTING), KINDS, LABELS
    ),
)
LEAVES = st.lists(LEAF, max_size=12)
ASKS = st.one_of(
    st.sampled_from(FITTING),
    st.builds(
        lambda one, kind, role: (one[0], kind, role), st.sampled_from(FITTING), KINDS, st.sampled_from(Role)
    ),
)


@pytest.mark.guarantee("G29")
@given(LEAVES, LEAVES, ASKS)
def test_more_results_never_make_an_origin_worse(
    before: list[Leaf], after: list[Leaf], asked: tuple[str, ArgumentType, Role]
) -> None:
    made = index(*before)
    first = made.origin(*asked)
    made.add("c2", "t", after)
    assert made.origin(*asked).label.integrity <= first.label.integrity


@pytest.mark.guarantee("G29")
@given(LEAVES, LEAVES, st.lists(ASKS, min_size=1, max_size=6))
def test_untrusted_results_change_no_answer(
    trusted: list[Leaf], untrusted: list[Leaf], asked: list[tuple[str, ArgumentType, Role]]
) -> None:
    public = [one._replace(label=PUBLIC) for one in untrusted]
    one, other = index(*trusted), index(*public, *trusted, *public)
    assert [one.origin(*ask) for ask in asked] == [other.origin(*ask) for ask in asked]


@pytest.mark.guarantee("G29")
@given(st.lists(LEAVES, max_size=4), ASKS)
def test_what_no_trusted_leaf_and_no_prompt_holds_has_no_origin(
    results: list[list[Leaf]], asked: tuple[str, ArgumentType, Role]
) -> None:
    made = Index(EMPTY, KEY)
    for number, leaves in enumerate(results):
        made.add(f"c{number}", "t", leaves)
    trusted = [
        str(one.value) for leaves in results for one in leaves if one.label.integrity is not Integrity.PUBLIC
    ]
    if not trusted:
        assert made.origin(*asked) == NOWHERE
    assert made.origin("absent@x.example", A.EMAIL, R.TARGET) == NOWHERE


@given(LEAVES, st.lists(ASKS, min_size=2, max_size=5), st.randoms())
def test_answers_do_not_depend_on_what_was_asked_before(
    leaves: list[Leaf], asked: list[tuple[str, ArgumentType, Role]], random: Random
) -> None:
    one, other = index(*leaves), index(*leaves)
    shuffled = list(asked)
    random.shuffle(shuffled)
    assert {ask: one.origin(*ask) for ask in asked} == {ask: other.origin(*ask) for ask in shuffled}
