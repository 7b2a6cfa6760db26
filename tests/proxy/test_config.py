"""The configuration: strict, all problems at once, nothing on disk taken for granted."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trionyx_proxy.config import Engine, Unregistered, check_files, load, resolve_command
from trionyx_proxy.core.label import BOTTOM, TOP, Integrity
from trionyx_proxy.errors import ConfigError

pytestmark = pytest.mark.guarantee("G27")

BASE = Path("/etc/trionyx")
LEAST = """
[audit]
directory = "audit"
origin = "corp.example/trionyx"
key = "audit.key"
[runs]
launcher_public_key = "launcher.pub"
[upstreams.mail]
command = ["/usr/bin/python3", "-m", "mail_server"]
"""
BAD = """
surprise = 1
[proxy]
state_dir = "x"
[policy]
engine = "rego"
deadline_ms = "250"
memory_mb = 1
bundle = ""
[audit]
origin = "Corp Example+1"
directory = 7
deadline_ms = true
[runs]
unregistered = "maybe"
floor = {integrity="user", level="open", readers="*", categories=[]}
[limits]
max_in_flight = 0
call_timeout = 1
[upstreams]
Mail = {command = ["x"]}
a__b = {command = ["x"]}
[upstreams.files]
comand = ["/bin/true"]
start_timeout_ms = 1.5
env = {GOOD = "x", "BAD-NAME" = "hunter2", NUMBER = 5, NUL = "hunter2\\u0000"}
[upstreams.web]
command = "python3 -m web"
cwd = "a\\nb"
[upstreams.git]
command = [""]
"""
PROBLEMS = """\
proxy.state_dir: unknown setting, did you mean state_directory
policy.bundle: must be a non-empty string of printable characters
policy.engine: must be "wasm" or "opa"
policy.deadline_ms: must be an integer from 10 to 60000
policy.memory_mb: must be an integer from 16 to 4096
audit.origin: must be a name like corp.example/trionyx: a-z, 0-9 and ./_- only
audit.directory: must be a non-empty string of printable characters
audit.key: is required
audit.deadline_ms: must be an integer from 10 to 60000
runs.floor: must be a label with integrity, level, readers and categories
runs.unregistered: must be "allow" or "refuse"
runs.launcher_public_key: is required unless unregistered = "allow"
limits.max_in_flight: must be an integer from 1 to 1024
limits.call_timeout: unknown setting, did you mean call_timeout_ms
upstreams.Mail: an alias is a-z, 0-9 and single - or _, at most 32 characters
upstreams.a__b: an alias is a-z, 0-9 and single - or _, at most 32 characters
upstreams.files.command: is required: a list of the program and its arguments
upstreams.files.env.BAD-NAME: not a name of a variable
upstreams.files.env.NUMBER: must be a string
upstreams.files.env.NUL: must be a string
upstreams.files.start_timeout_ms: must be an integer from 100 to 600000
upstreams.files.comand: unknown setting, did you mean command
upstreams.web.command: must be a list of strings
upstreams.web.command: is required: a list of the program and its arguments
upstreams.web.cwd: must be a non-empty string of printable characters
upstreams.git.command: is required: a list of the program and its arguments
surprise: unknown setting"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, base=BASE)
    return [str(problem) for problem in caught.value.problems]


def test_the_least_configuration_has_these_defaults() -> None:
    config = load(LEAST, base=BASE)
    assert config.state_directory == BASE / "state" and config.audit.directory == BASE / "audit"
    assert (config.policy.bundle, config.policy.engine, config.policy.deadline_ms) == (None, Engine.WASM, 250)
    assert (config.policy.memory_mb, config.policy.opa_command, config.audit.deadline_ms) == (64, None, 1000)
    assert (config.runs.unregistered, config.runs.floor) == (Unregistered.REFUSE, BOTTOM)
    assert (config.limits.call_timeout_ms, config.limits.max_in_flight) == (60_000, 32)
    assert config.limits.max_result_bytes == config.limits.max_argument_bytes == 1_048_576
    (mail,) = config.upstreams
    assert (mail.alias, mail.catalog, dict(mail.env), mail.cwd) == ("mail", "mail", {}, None)
    assert mail.command == ("/usr/bin/python3", "-m", "mail_server") and mail.start_timeout_ms == 10_000


def test_every_setting_is_read() -> None:
    config = load(
        LEAST.replace("[upstreams.mail]", '[upstreams.mail]\ncatalog = "m"\ncwd = "c"\nenv = {A = "1"}')
        .replace('command = ["/usr', 'start_timeout_ms = 100\ncommand = ["../usr')
        .replace("[runs]", '[runs]\nlauncher_key = "/k"\nunregistered = "allow"\nfloor = '
                 '{integrity="org", level="secret", readers=["emma"], categories="*"}')
        + '[policy]\nbundle = "b"\nengine = "opa"\nopa_command = "o"\ndeadline_ms = 10\nmemory_mb = 16\n'
        + '[proxy]\nstate_directory = "/s"\n',
        base=BASE,
    )  # fmt: skip
    assert config.state_directory == Path("/s") and config.policy.bundle == BASE / "b"
    assert config.policy.engine is Engine.OPA and config.policy.opa_command == BASE / "o"
    assert config.runs.launcher_key == Path("/k") and config.runs.floor.integrity is Integrity.ORG
    (mail,) = config.upstreams
    assert mail.command[0] == "/etc/trionyx/../usr/bin/python3" and mail.cwd == BASE / "c"
    assert (mail.catalog, dict(mail.env), mail.start_timeout_ms) == ("m", {"A": "1"}, 100)
    assert "env" not in repr(mail)


def test_all_problems_are_reported_at_once_and_hold_no_value() -> None:
    assert "\n".join(problems(BAD)) == PROBLEMS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["audit.origin: is required", "audit.directory: is required", "audit.key: is required",
              'runs.launcher_public_key: is required unless unregistered = "allow"',
              "upstreams: at least one upstream is required"]),
        (LEAST + "[upstreams.mail]", ["not valid toml: "]),
        ("a = ", ["not valid toml: invalid value"]),
        ("a = " + "[" * 5000, ["not valid toml: "]),
        (LEAST.replace("[runs]", "[[runs]]"), ["runs: must be a table", "runs.launcher_public_key"]),
        ("upstreams = 1\n" + LEAST.partition("[upstreams")[0], ["upstreams: must be a table"]),
        (LEAST.replace("mail]", "mail]\nenv = 1"), ["upstreams.mail.env: must be a table"]),
        (LEAST.replace("upstreams.mail", "upstreams.trionyx"), ["upstreams.trionyx: this alias is the proxy's own"]),
        (LEAST.replace("[runs]", '[runs]\nfloor = "top"'), ["runs.floor: must be a label"]),
    ],
)  # fmt: skip
def test_broken_files_are_explained(text: str, expected: list[str]) -> None:
    found = problems(text)
    assert len(found) == len(expected)
    for message, beginning in zip(found, expected, strict=True):
        assert message.startswith(beginning) and "\n" not in message and not message.endswith(".")


def test_top_is_a_floor_like_any_other() -> None:
    floor = '{integrity="public", level="secret", readers=[], categories="*"}'
    assert load(LEAST.replace("[runs]", f"[runs]\nfloor = {floor}"), base=BASE).runs.floor == TOP


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*LEAST.splitlines(), *BAD.splitlines(), "]", "=", "[", '"']), max_size=12))
def test_any_text_gives_a_configuration_or_problems(lines: list[str]) -> None:
    try:
        load("\n".join(lines), base=BASE)
    except ConfigError as error:
        assert error.problems and all(problem.message for problem in error.problems)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a directory in which the least configuration has all its files."""
    for name, mode in (("audit.key", 0o600), ("launcher.pub", 0o644), ("launcher.key", 0o600)):
        (tmp_path / name).touch(mode)
        (tmp_path / name).chmod(mode)
    (tmp_path / "work").mkdir()
    return tmp_path


def check(site: Path, *changes: tuple[str, str]) -> list[str]:
    text = LEAST.replace('["/usr/bin/python3"', f'["{sys.executable}"')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return [str(problem).replace(str(site), "SITE") for problem in check_files(load(text, base=site))]


def test_a_complete_site_has_no_problems(site: Path) -> None:
    assert check(site) == []
    assert (
        check(site, ("[upstreams.mail]", '[upstreams.mail]\ncwd = "work"\nenv = {PATH = "/usr/bin"}')) == []
    )
    assert not (site / "audit").exists() and not (site / "state").exists()


MAIL = "[upstreams.mail]"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (('"audit.key"', '"gone.key"'), "audit.key: does not exist: SITE/gone.key"),
        (('"audit.key"', '"work"'), "audit.key: is not a file: SITE/work"),
        (('"audit.key"', '"launcher.pub"'), "audit.key: is open to other users, run: chmod 600 SITE/launcher.pub"),
        (('"launcher.pub"', '"gone.pub"'), "runs.launcher_public_key: does not exist: SITE/gone.pub"),
        (('"audit"', '"audit.key/log"'), "audit.directory: is not a directory: SITE/audit.key"),
        ((sys.executable, "/gone/python3"), "upstreams.mail.command: no such program: /gone/python3"),
        ((sys.executable, "./gone"), "upstreams.mail.command: no such program: SITE/gone"),
        ((sys.executable, "launcher.pub"),
         "upstreams.mail.command: no such program: launcher.pub, looked for on the PATH of its env"),
        ((MAIL, MAIL + '\ncwd = "gone"'), "upstreams.mail.cwd: is not a directory: SITE/gone"),
        ((MAIL, '[policy]\nbundle = "gone"\n' + MAIL), "policy.bundle: does not exist: SITE/gone"),
        ((MAIL, '[policy]\nengine = "opa"\nopa_command = "gone"\n' + MAIL),
         "policy.opa_command: does not exist: SITE/gone"),
        ((MAIL, '[policy]\nengine = "opa"\nopa_command = "launcher.pub"\n' + MAIL),
         "policy.opa_command: is not executable: SITE/launcher.pub"),
        ((MAIL, '[proxy]\nstate_directory = "launcher.pub"\n' + MAIL),
         "proxy.state_directory: is not a directory: SITE/launcher.pub"),
    ],
)  # fmt: skip
def test_each_missing_part_is_one_clear_problem(site: Path, change: tuple[str, str], expected: str) -> None:
    assert check(site, change) == [expected]


def test_everything_missing_is_reported_together(tmp_path: Path) -> None:
    config = load(LEAST.replace("/usr/bin/python3", "/gone"), base=tmp_path)
    assert [problem.path for problem in check_files(config)] == [
        "audit.key", "runs.launcher_public_key", "upstreams.mail.command",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("addition", "setting"),
    [('cwd = "."', "cwd"), ('cwd = "link"', "cwd"), ('"-m", "SITE"', "command"), ('"-m", "--root=SITE"', "command"),
     ('"-m", "/"', "command"), ('"-m", "SITE/work/.."', "command"), ('"-m", "SITE/audit"', "command")],
)  # fmt: skip
def test_no_tool_server_is_pointed_at_the_log_or_the_keys(site: Path, addition: str, setting: str) -> None:
    (site / "link").symlink_to(site)
    addition = addition.replace("SITE", str(site))
    change = ('"-m"', addition) if setting == "command" else (MAIL, f"{MAIL}\n{addition}")
    found = check(site, change)
    assert f"upstreams.mail.{setting}: reaches audit.directory: SITE/audit" in found
    assert all(message.startswith(f"upstreams.mail.{setting}: reaches ") for message in found)


def test_a_directory_open_to_everyone_is_refused(site: Path) -> None:
    (site / "audit").mkdir()
    (site / "audit").chmod(0o777)
    assert check(site) == ["audit.directory: is writable by everyone, run: chmod o-w SITE/audit"]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_directory_that_cannot_be_written_is_refused(site: Path) -> None:
    (site / "audit").mkdir(mode=0o500)
    assert check(site) == ["audit.directory: is not writable: SITE/audit"]


def test_a_bare_program_is_sought_on_the_upstreams_own_path(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = site / "work" / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(site / "work"))
    bare = LEAST.replace("/usr/bin/python3", "tool")
    assert resolve_command(load(bare, base=site).upstreams[0]) is None
    found = load(bare.replace(MAIL, f'{MAIL}\nenv = {{PATH = "{site}/work"}}'), base=site).upstreams[0]
    assert resolve_command(found) == program
    relative = load(bare.replace(MAIL, f'{MAIL}\nenv = {{PATH = "work"}}'), base=site).upstreams[0]
    monkeypatch.chdir(site)
    assert resolve_command(relative) is None


def test_minting_needs_the_private_key_only(site: Path) -> None:
    text = LEAST.replace("/usr/bin/python3", "/gone").replace('"audit.key"', '"gone"')
    without = check_files(load(text, base=site), minting=True)
    assert [str(problem) for problem in without] == ["runs.launcher_key: is required to mint a run token"]
    keyed = load(text.replace("[runs]", '[runs]\nlauncher_key = "launcher.key"'), base=site)
    assert check_files(keyed, minting=True) == ()
    (site / "launcher.key").chmod(0o640)
    assert [problem.path for problem in check_files(keyed, minting=True)] == ["runs.launcher_key"]
    assert "runs.launcher_key" in [problem.path for problem in check_files(keyed)]
