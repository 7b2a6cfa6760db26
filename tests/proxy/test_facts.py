"""Facts: strict readings of addresses, hosts, URLs and paths, held against hostile spellings."""

from __future__ import annotations

import posixpath
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trionyx_proxy.arguments import JSON, canonical
from trionyx_proxy.catalog import ArgumentType, Catalog, ToolEntry
from trionyx_proxy.core.label import TOP
from trionyx_proxy.facts import compute, prompt_facts

KINDS = tuple(kind.value for kind in ArgumentType)


def entry_for(
    arguments: dict[str, str], roots: list[str] | None = None, more: dict[str, Any] | None = None
) -> ToolEntry:
    described: Any = {
        "catalog": {
            "servers": {
                "s": {
                    "tools": {
                        "t": {
                            "effect": "egress",
                            "args": {
                                pattern: {"role": "target", "type": kind}
                                for pattern, kind in arguments.items()
                            }
                            | (more or {}),
                            "result": TOP.to_json(),
                            "clearance": TOP.to_json(),
                        }
                    }
                }
            }
        },
        "paths": {"s": {"roots": roots if roots is not None else ["/"], "zones": []}},
    }
    entry = Catalog.from_data(described).tool("s", "t")
    assert entry is not None
    return entry


ANY = entry_for({f"/{kind}": kind for kind in KINDS} | {"/many/*/to": "email", "/list/*": "email"})


def facts_of(kind: str, value: JSON, roots: list[str] | None = None) -> dict[str, Any]:
    return compute({kind: value}, entry_for({f"/{kind}": kind}, roots))


def invalid(kind: str, value: JSON) -> bool:
    facts = facts_of(kind, value)
    assert facts["invalid"] in ([], [{"arg": f"/{kind}", "type": kind}])
    if facts["invalid"]:
        assert not any(facts[name] for name in ("paths", "urls", "recipients", "text"))
    return bool(facts["invalid"])


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("https://www.b.com", ("https", "www.b.com", 443, False, False, False, 0, "/")),
        ("HTTPS://WWW.B.COM./A?q=1", ("https", "www.b.com", 443, False, False, False, 3, "/A")),
        ("http://b.com:8080/a#frag", ("http", "b.com", 8080, False, False, False, 4, "/a")),
        ("http://b.com?q=é", ("http", "b.com", 80, False, False, False, 8, "/")),
        ("https://u:p@b.com/", ("https", "b.com", 443, False, False, True, 0, "/")),
        ("https://@b.com/", ("https", "b.com", 443, False, False, True, 0, "/")),
        ("https://8.8.8.8/", ("https", "8.8.8.8", 443, True, False, False, 0, "/")),
        ("https://127.0.0.1/", ("https", "127.0.0.1", 443, True, True, False, 0, "/")),
        (
            "https://169.254.169.254/latest",
            ("https", "169.254.169.254", 443, True, True, False, 0, "/latest"),
        ),
        ("https://100.64.0.1/", ("https", "100.64.0.1", 443, True, True, False, 0, "/")),
        ("https://0.0.0.8/", ("https", "0.0.0.8", 443, True, True, False, 0, "/")),
        ("https://224.0.0.1/", ("https", "224.0.0.1", 443, True, True, False, 0, "/")),
        ("https://[::1]/", ("https", "::1", 443, True, True, False, 0, "/")),
        (
            "https://[2001:4860:4860:0:0:0:0:8888]/",
            ("https", "2001:4860:4860::8888", 443, True, False, False, 0, "/"),
        ),
        ("https://[::ffff:10.0.0.1]/", ("https", "::ffff:a00:1", 443, True, True, False, 0, "/")),
        ("https://[64:ff9b::a00:1]/", ("https", "64:ff9b::a00:1", 443, True, True, False, 0, "/")),
        ("https://[2002:a00:1::]/", ("https", "2002:a00:1::", 443, True, True, False, 0, "/")),
        ("https://localhost/", ("https", "localhost", 443, False, True, False, 0, "/")),
        ("https://a.LOCALHOST/", ("https", "a.localhost", 443, False, True, False, 0, "/")),
        (
            "https://metadata.google.internal/",
            ("https", "metadata.google.internal", 443, False, True, False, 0, "/"),
        ),
        ("https://intranet/", ("https", "intranet", 443, False, True, False, 0, "/")),
        (
            "https://xn--bcher-kva.example/",
            ("https", "xn--bcher-kva.example", 443, False, False, False, 0, "/"),
        ),
        ("gopher://b.com/1", ("gopher", "b.com", 0, False, False, False, 0, "/1")),
        (
            "https://r3---sn-x.b.com/a%20b",
            ("https", "r3---sn-x.b.com", 443, False, False, False, 0, "/a%20b"),
        ),
        (
            "https://de.b.com/wiki/München",
            ("https", "de.b.com", 443, False, False, False, 0, "/wiki/M%C3%BCnchen"),
        ),
    ],
)
def test_a_url_is_taken_apart(url: str, fact: tuple[Any, ...]) -> None:
    facts = facts_of("url", url)
    names = ("scheme", "host", "port", "ip", "private", "userinfo", "query_bytes", "path")
    assert facts["urls"] == [{"arg": "/url", **dict(zip(names, fact, strict=True))}]
    assert facts["invalid"] == []


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    "url",
    ["", "b.com", "//b.com", "/a", "http:b.com", "http:/b.com", "http:///b.com", "http://", "https://?q", "http://:80/",
     "http://b.com:/", "http://b.com:0/", "http://b.com:080/", "http://b.com:65536/", "http://b.com:99999999999/",
     "http://b.com:x/", "http://a@b@c.com/", "https://good.com\\@evil.com/", "https://good.com\\.evil.com/",
     "https:\\\\b.com/", "https://good.com%00.evil.com/", "https://good.com%2eevil.com/", "https://a b.com/",
     "https://b.com/a b", "https://b.com/\t", "https://b.com/\n", " https://b.com/", "https://b.com/ ", "ht\ttps://b.com/",
     "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/", "https://0177.0.0.1/",
     "https://1.2.3/", "https://1.2.3.4.5/", "https://1.2.3.256/", "https://1.2.3.4./", "https://a.0x/", "https://b.com../",
     "https://.b.com/", "https://b..com/", "https://-b.com/", "https://b-.com/", "https://" + "a" * 64 + ".com/",
     "https://" + "a." * 127 + "com/", "https://[::1/", "https://::1/", "https://[::1%25eth0]/", "https://[v1.x]/",
     "https://[127.0.0.1]/", "https://münchen.example/", "https://ｇoogle.com/", "https://google。com/",
     "https://b.com\u200b/",
     "https://b.com/\u202egnp.exe", "https://xn--a/", "https://xn--.example/", "https://xn--0000000.example/",
     "https://b.com/../a", "https://b.com/./a", "https://b.com/%2e%2e/a", "https://b.com/%2E/a", "https://b.com/a%2fb",
     "https://b.com/a%5cb", "https://b.com/%252e", "https://b.com//a", "https://b.com/%zz", "https://b.com/%",
     "https://b.com/a\\b", 'https://b.com/"', "https://b.com/<", "https://b.com/{x}", "https://b.com/^", "https://b.com/`",
     "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "mailto:a@b.c", "https://b.com/" + "a" * 9000,
     "https://good.com;@evil .com/", "https://good.com\u2044@evil.com/"],
)  # fmt: skip
def test_an_ambiguous_url_is_invalid(url: str) -> None:
    assert invalid("url", url)


@settings(max_examples=400, deadline=None)
@example("https://a.b/c?d#e")
@given(
    st.text(alphabet="htps:/?#[]@.%\\ab1é\u200b-_&=", max_size=24).map(lambda tail: "https://" + tail)
    | st.from_regex(r"\A[a-z]{2,6}://[a-z0-9.@:\[\]-]{1,20}(/[a-z?#%0-9]*)?\Z")
)
def test_an_accepted_url_means_the_same_host_to_a_lenient_parser(url: str) -> None:
    for fact in facts_of("url", url)["urls"]:
        lenient = urlsplit(url)
        assert (lenient.hostname or "").removesuffix(".") == fact["host"] or fact["ip"]
        assert (lenient.username is not None) == fact["userinfo"]
        assert lenient.port in (None, fact["port"]) and lenient.scheme == fact["scheme"]


@pytest.mark.parametrize(
    ("text", "address", "domain"),
    [
        ("a@b.c", "a@b.c", "b.c"),
        ("Emma.Doe+x@Corp.Example", "emma.doe+x@corp.example", "corp.example"),
        ("o'hara@b.c", "o'hara@b.c", "b.c"),
        ("root@localhost", "root@localhost", "localhost"),
    ],
)
def test_an_address_is_read_in_lower_case(text: str, address: str, domain: str) -> None:
    assert facts_of("email", text)["recipients"] == [{"arg": "/email", "address": address, "domain": domain}]


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    "text",
    ["", "@", "a@", "@b.c", "a", "a@b@c.d", "Emma <emma@b.c>", "<a@b.c>", "a@b.c, d@e.f", "a@b.c;d@e.f", "a@b.c d@e.f",
     "a@b.c\nBcc: d@e.f", "a@b.c\r\n", " a@b.c", "a@b.c ", '"a b"@c.d', '"a"@c.d', "a(x)@b.c", "a@b.c(x)",
     "a@[127.0.0.1]",
     "a@127.0.0.1", "a@b.c.", "a@.b.c", "a@b..c", ".a@b.c", "a.@b.c", "a..b@c.d", "a@-b.c",
     "a%evil.example@corp.example",
     "evil.example!a@corp.example", "a@corp.example\u200b", "а@b.c", "a@bücher.example", "a@corp．example", "a@b_c.d",
     "a" * 65 + "@b.c", "a@" + "b" * 64 + ".c", "a\\@b.c", "a@b.c\x00",
     "=?utf-8?q?a?=@b.c?", "mailto:a@b.c", "a@b.c?cc=d@e.f"],
)  # fmt: skip
def test_anything_but_one_bare_address_is_invalid(text: str) -> None:
    assert invalid("email", text)


@pytest.mark.parametrize(
    ("path", "roots", "normal", "inside", "hidden"),
    [
        ("/notes/a.md", ["/"], "/notes/a.md", True, False),
        ("/", ["/"], "/", True, False),
        ("//notes///./a/", ["/"], "/notes/a", True, False),
        ("/notes/../secrets/k", ["/"], "/secrets/k", True, False),
        ("/../etc/passwd", ["/"], "/etc/passwd", False, False),
        ("/w/a/../../etc", ["/w"], "/etc", False, False),
        ("/w/../w/a", ["/w"], "/w/a", False, False),
        ("/w/a/../b", ["/w"], "/w/b", True, False),
        ("/w", ["/w"], "/w", True, False),
        ("/w2/a", ["/w"], "/w2/a", False, False),
        ("/W/a", ["/w"], "/W/a", False, False),
        ("/w/.ssh/id", ["/w"], "/w/.ssh/id", True, True),
        ("/w/.ssh/../a", ["/w"], "/w/a", True, False),
        ("notes/a", ["/"], "notes/a", False, False),
        ("../a", ["/"], "../a", False, False),
        ("a/../../b", ["/"], "../b", False, False),
        (".", ["/"], ".", False, False),
        ("/a", [], "/a", False, False),
        ("/a b/100%.txt", ["/"], "/a b/100%.txt", True, False),
        ("/a%20b", ["/"], "/a%20b", True, False),
        ("/a/x", ["/b", "/a"], "/a/x", True, False),
    ],
)
def test_a_path_is_normalised_and_placed(
    path: str, roots: list[str], normal: str, inside: bool, hidden: bool
) -> None:
    assert facts_of("path", path, roots)["paths"] == [
        {"arg": "/path", "path": normal, "inside": inside, "hidden": hidden, "control": False}
    ]


@pytest.mark.parametrize(
    "path", ["/a\nb", "/a\x1b[2J", "/a\u202eb", "/a\u200bb", "/a\u2028b", "/a\ufeff", "/a\u00a0b"]
)
def test_a_path_with_characters_nobody_sees_says_so(path: str) -> None:
    assert [fact["control"] for fact in facts_of("path", path)["paths"]] == [True]


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    "path",
    ["", "~", "~/x", "~root/x", "C:\\x", "C:/x", "c:x", "file:///etc/passwd", "\\\\host\\share", "/a\\..\\b", "..\\x",
     "/%2e%2e/etc", "/%2E./etc", "/.%2e/x", "/a%2fb", "/a%5cb", "/a%00b", "/%252e%252e/x", "/%25252525252e/x", "/a%0ab",
     "/secrets./k", "/secrets /k", "/a/.../b", "/a/.. /b", "/a/．．/b", "/a／b",
     "/a/‥/b", "/" + "a" * 4096, "/" + "é" * 2100],
)  # fmt: skip
def test_an_ambiguous_path_is_invalid(path: str) -> None:
    assert invalid("path", path)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(st.sampled_from(["w", "a", "..", ".", "", "x"]), max_size=8),
    st.sampled_from([["/"], ["/w"], ["/w/a"]]),
)
def test_what_lies_inside_lies_inside_by_the_systems_own_rules(steps: list[str], roots: list[str]) -> None:
    path = "/" + "/".join(steps)
    (fact,) = facts_of("path", path, roots)["paths"]
    system = "/" + posixpath.normpath(path).lstrip("/")
    assert fact["path"] == system
    if fact["inside"]:
        assert posixpath.commonpath([system, roots[0]]) == roots[0]


@pytest.mark.parametrize(
    ("text", "flags", "hosts"),
    [
        ("plain\n\ttext – with ünïcode 👩‍💻 ✌️", (False, False, False), []),
        ("bell\x07", (True, False, False), []),
        ("\u202egnp.exe", (False, True, False), []),
        ("pay\u200bpal", (False, False, True), []),
        ("tags\U000e0041", (False, False, True), []),
        ("joined\u200dletters", (False, False, True), []),
        ("see https://A.b.com/x?q, or http://b.com.", (False, False, False), ["a.b.com", "b.com"]),
        ("[x](https://evil.example/?q=1) <//cdn.example/x> www.W.example!", (False,) * 3,
         ["cdn.example", "evil.example", "www.w.example"]),
        ("https://good.com@evil.example/ and https:/one.example https:\\\\two.example", (False,) * 3,
         ["evil.example", "one.example", "two.example"]),
        ("https://bücher.example/ ftp://127.1/", (False,) * 3, ["invalid"]),
        ("see a@b.com and either/or // nothing, http: no", (False,) * 3, []),
        ("https://b.com:8443/ https://[::1]/", (False,) * 3, ["::1", "b.com"]),
    ],
)  # fmt: skip
def test_text_shows_what_a_reader_cannot_see(text: str, flags: tuple[bool, ...], hosts: list[str]) -> None:
    (fact,) = facts_of("text", text)["text"]
    assert (fact["control"], fact["bidi"], fact["invisible"]) == flags
    assert fact["urls"] == hosts and fact["bytes"] == len(text.encode())


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("host", ["b.com", "10.0.0.1", "LOCALHOST"], ["b.com/", "a@b.com", "b.com:80", "127.1", "", "b com"]),
        ("id", ["m1", "HEAD~1", 7, "x" * 256], ["", " a", "a\nb", "a\u200b", 1.5, True, "x" * 257, {}]),
        (
            "date",
            ["2025-11-20", "2025-11-20T10:00:00Z", "2025-11-20 10:00"],
            ["2025-13-01", "20.11.2025", "now", 1, ""],
        ),
        ("amount", ["12.50", "-1", 3, 2.5], ["1e3", "1,000", "٣", "", "NaN", True, "007"]),
        ("integer", [0, -7], ["7", 1.5, True, []]),
        ("boolean", [True, False], [0, "true", {}]),
        ("enum", ["asc", 1, False], ["a\u202e", 1.5, ["a"]]),
        ("text", ["", "x"], [1, True, [], {}]),
        (
            "iban",
            ["DE89 3704 0044 0532 0130 00", "gb29NWBK60161331926819", "CH9300762011623852957"],
            [
                "DE89370400440532013001",
                "UK12345678901234567890",
                "DE89\u200b370400440532013000",
                "DE8",
                "",
                89,
                " DE89370400440532013000",
                "DE89370400440532013000 CH9300762011623852957",
            ],
        ),
        (
            "phone",
            ["+49 30 123456", "(030) 123-456", "110", "+1.415.555.2671"],
            ["+49 30 123456, 110", "1234567890123456", "12", "0190-CALL", "+", "٠٣٠١٢٣", "030\n1", 30123],
        ),
        (
            "name",
            ["#general", "Emma Müller", "needs-triage", "a, b"],
            ["", " a", "a ", "a\nb", "a\u200bb", "a\u202eb", "x" * 129, 1, True],
        ),
        (
            "revision",
            ["HEAD~3..main", "@{upstream}", "v1.0^{}", "feature/x-y", "a-b"],
            ["--output=/x", "-n", "", " main", "main x", "a\nb", "a\u200b", "x" * 257, 7],
        ),
        (
            "handle",
            ["h" + "a2" * 8, "⟦trx:h" + "b7" * 10 + ":/0/body of it:412B⟧"],
            [
                "h1",
                "haaa",
                "⟦trx:h" + "b7" * 10,
                "x ⟦trx:haaaaaaaaaaaaaaaa⟧",
                "⟦trx:h" + "A" * 20 + "⟧",
                "",
                1,
                "⟦trx:haaaaaaaaaaaaaaaa⟧⟦trx:haaaaaaaaaaaaaaaa⟧",
                "⟦trx:haaaaaaaaaaaaaaaa:\u202e⟧",
            ],
        ),
        ("email", [], [1, ["a@b.c"], {"a": 1}]),
        ("path", [], [1, ["/a"]]),
        ("url", [], [1, ["https://b.com/"]]),
    ],
)
def test_a_value_of_another_type_is_invalid(kind: str, good: list[JSON], bad: list[JSON]) -> None:
    for value in good:
        assert not invalid(kind, value), value
    for value in bad:
        assert invalid(kind, value), value
    assert facts_of(kind, None)["invalid"] == []


@pytest.mark.guarantee("G03")
@pytest.mark.parametrize(
    ("arguments", "arg"),
    [
        ({"new": 1}, "/new"),
        ({"new": None}, "/new"),
        ({"new": {}}, "/new"),
        ({"new": {"deep": 1}}, "/new"),
        ({"list": "a@b.c"}, "/list"),
        ({"list": {"0": "a@b.c"}}, "/list/0"),
        ({"list": {"*": "a@b.c"}}, "/list/*"),
        ({"many": [{"cc": "a@b.c"}]}, "/many/0/cc"),
        ({"many": [["a@b.c"]]}, "/many/0/0"),
        ({"a/b": 1}, "/*"),
        ([], ""),
        ("x", ""),
    ],
)
def test_an_argument_that_the_catalog_does_not_describe_is_invalid(arguments: JSON, arg: str) -> None:
    facts = compute(arguments, ANY)
    assert {"arg": arg, "type": "uncatalogued"} in facts["invalid"]  # type: ignore[operator]  # a list, as JSON


IN_REPOSITORY: Any = {
    "/repo": {"role": "target", "type": "path"},
    "/files/*": {"role": "target", "type": "path", "base": "/repo"},
}


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    ("repo", "name", "path"),
    [
        ("/w/r", "a.txt", "/w/r/a.txt"),
        ("/w/r", "docs/./b", "/w/r/docs/b"),
        ("/w/r", ".", "/w/r"),
        ("/w/r", "../other/a", "/w/other/a"),
        ("/w/r", "/w/x", "/w/x"),
        ("/w/r", "../../etc/passwd", "/etc/passwd"),
        ("/w/r", "-A", None),
        ("/w/r", "--force", None),
        ("/w/r", ":(top)a", None),
        ("/w/r", ":!a", None),
        ("/w/r", "~/a", None),
        ("/w/r", "C:/a", None),
        ("/w/r", "a\\b", None),
        ("/w/r", "%2e%2e/x", None),
        ("/w/r", "", None),
        ("/w/r", 1, None),
        ("/w/r", None, ""),
        (None, "a", None),
        (7, "a", None),
    ],
)
def test_a_relative_path_lies_below_its_base(repo: JSON, name: JSON, path: str | None) -> None:
    entry = entry_for({}, ["/w"], IN_REPOSITORY)
    facts: Any = compute({"repo": repo, "files": [name]}, entry)
    listed = [fact["path"] for fact in facts["paths"] if fact["arg"] == "/files/0"]
    refused = [fact["type"] for fact in facts["invalid"] if fact["arg"] == "/files/0"]
    assert (listed, refused) == ([path] if path else [], ["path"] if path is None else [])
    for fact in facts["paths"]:
        assert fact["inside"] == fact["path"].startswith("/w")


@pytest.mark.parametrize("odd", [None, "", "repo", "/list/*", 1, ["/repo"]])
def test_an_argument_with_an_odd_base_is_not_described(odd: JSON) -> None:
    entry = entry_for({}, ["/w"], {"/x": {"role": "target", "type": "path", "base": odd}})
    assert entry.arguments == {}


def test_lists_are_read_element_by_element() -> None:
    facts = compute({"many": [{"to": "a@b.c"}, {"to": "x"}], "list": ["d@e.f"], "text": None}, ANY)
    assert facts["recipients"] == [
        {"arg": "/list/0", "address": "d@e.f", "domain": "e.f"},
        {"arg": "/many/0/to", "address": "a@b.c", "domain": "b.c"},
    ]
    assert facts["invalid"] == [{"arg": "/many/1/to", "type": "email"}]
    assert compute({"list": [], "many": None}, ANY)["invalid"] == [] == compute({}, ANY)["invalid"]


def test_the_list_of_invalid_arguments_is_bounded() -> None:
    assert len(compute({f"k{n}": 1 for n in range(9_000)}, ANY)["invalid"]) == 64  # type: ignore[arg-type]  # a list, as JSON


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=12)
    | st.sampled_from(["a@b.c", "https://b.com/?q", "/a/../b", "2025-01-01"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*KINDS, "to", "many", "list", "other", "a/b~"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from([*KINDS, "many", "list", "other"]), VALUES, max_size=4))
def test_facts_are_total_canonical_and_deterministic(arguments: dict[str, JSON]) -> None:
    facts = compute(arguments, ANY)
    assert set(facts) == {"invalid", "origins", "paths", "recipients", "text", "urls"}
    assert canonical(facts) == canonical(compute(dict(reversed(arguments.items())), ANY))
    # Every described, non-null leaf of a kind with facts of its own gave either its fact or an invalid entry.
    if isinstance(arguments.get("email"), str):
        listed = [*facts["recipients"], *facts["invalid"]]  # type: ignore[misc]  # lists, as JSON
        assert any(isinstance(fact, dict) and fact["arg"] == "/email" for fact in listed)


def test_a_prompt_names_whole_tokens_only() -> None:
    facts = prompt_facts(
        "Mail jonas@corp.example, (Emma <emma@Corp.example>) and “x@y.example”. See https://www.a.com/x?y=1, "
        "www.b.org/z and http://u@c.com/. Store it in /notes/today.md or /notes/../tmp/x; not report.zip, "
        "foo.com, and/or, a@b, ~/x, mailto:m@n.example!"
    )
    assert facts == {
        "emails": ["a@b", "emma@corp.example", "jonas@corp.example", "m@n.example", "x@y.example"],
        "hosts": ["www.a.com", "www.b.org"],
        "paths": ["/notes/today.md", "/tmp/x"],
    }


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40))
def test_any_prompt_gives_facts(text: str) -> None:
    facts = prompt_facts(text)
    assert facts == prompt_facts(text) and facts.keys() == {"emails", "hosts", "paths"}
    assert all(address in text.lower() for address in facts["emails"])


def test_long_texts_are_read_quickly() -> None:
    began = time.thread_time()
    for piece in ("a", "/", "http:", "www.", "https://a.", "@", "\\", "a.", "/../", "%25"):
        text = piece * (65_536 // len(piece))
        (
            facts_of("text", text),
            prompt_facts(text),
            facts_of("url", text),
            facts_of("path", text),
            facts_of("email", text),
        )
    assert time.thread_time() - began < 3  # measured: under 0.5 s


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https:&#47;&#47;evil.example/x">',
        '<a href="https:/&#x2f;evil.example/">',
        "https:/\t/evil.example/x",
        "&#119;ww.evil.example",
        "ww\r\nw.evil.example",
        "WWW.evil.example",
    ],
)
def test_a_link_as_a_mail_program_resolves_it_is_seen(text: str) -> None:
    from trionyx_proxy.facts.prompt import embedded_hosts, embedded_urls

    assert [host.removeprefix("www.") for host in embedded_hosts(text)] == ["evil.example"]
    assert embedded_urls(text)


@pytest.mark.parametrize("text", ["http\u017f://evil.example/", "\u212a://evil.example/"])
def test_a_scheme_is_ascii(text: str) -> None:
    from trionyx_proxy.facts.network import parse_url

    assert parse_url(text) is None


@pytest.mark.parametrize(
    ("path", "hidden"),
    [("/home/u/.notes/a", False), ("/home/u/.notes/.env", True), ("/home/u/.other/a", True), ("/.env", True)],
)
def test_a_root_below_a_dot_directory_hides_nothing_below_it(path: str, hidden: bool) -> None:
    from trionyx_proxy.facts.path import parse_path

    place = parse_path(path, ("/home/u/.notes", "/srv"))
    assert place is not None and place.hidden is hidden


@pytest.mark.parametrize("separator", list(";,'|)}>] `"))
def test_what_stands_before_an_at_sign_does_not_hide_the_host(separator: str) -> None:
    from trionyx_proxy.facts.prompt import embedded_hosts

    assert "evil.example" in embedded_hosts(f"see https://corp.example{separator}@evil.example/p?d=1")
