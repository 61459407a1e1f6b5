"""The documentation is true: its commands parse, its code runs, its tables are complete."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from inngest_serverless.cli.commands import COMMANDS, cli

from .dev_process import Dev

ROOT = Path(__file__).parent.parent
DOCS = sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/orders/README.md", *DOCS)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", page(name), re.DOTALL | re.MULTILINE)


def shell_lines(name: str) -> Iterator[str]:
    for block in blocks(name, "sh"):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


def options_of(command: str) -> list[str]:
    parameters = command_named(command).params
    return [name for each in parameters for name in each.opts if name.startswith("--")]


def command_named(name: str) -> click.Command:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_in_the_reference(command: str) -> None:
    section = page("docs/reference.md").split(f"### {command}\n")[1].split("\n##")[0]
    missing = [option for option in options_of(command) if f"`{option}" not in section]
    assert missing == []


@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_has_no_option_that_does_not_exist(command: str) -> None:
    section = page("docs/reference.md").split(f"### {command}\n")[1].split("\n##")[0]
    named = {name for name in re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)}
    assert named <= set(options_of(command))


def test_the_environment_variables_of_the_reference_are_those_of_the_code() -> None:
    table = page("docs/reference.md").split("## Environment variables")[1]
    documented = set(re.findall(r"^\| `(INNGEST_[A-Z_]+)`", table, re.MULTILINE))
    sources = [*(ROOT / "sdk").rglob("*.py"), *(ROOT / "inngest_serverless").rglob("*.py")]
    read = {
        name
        for path in sources
        for name in re.findall(r'"(INNGEST_[A-Z_]+)"', path.read_text(encoding="utf-8"))
    }
    assert documented == read


@pytest.mark.parametrize("name", PAGES)
def test_every_command_that_a_page_shows_is_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples" / "orders")  # where the files that they name are
    for line in shell_lines(name):
        words = shlex.split(line, comments=True)
        if words[:1] == ["inngest-serverless"]:
            command_named(words[1]).make_context(words[1], words[2:])


@pytest.mark.parametrize("name", PAGES)
def test_every_make_target_that_a_page_shows_exists(name: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", page("Makefile"), re.MULTILINE))
    for line in shell_lines(name):
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            assert words[1] in targets


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page(name))
    for link in links:
        assert link.startswith("https://") or (ROOT / name).parent.joinpath(link).exists(), link


@pytest.mark.parametrize("name", ["README.md", "docs/quickstart.md"])
def test_the_first_function_that_a_page_shows_runs_with_its_commands(
    name: str, tmp_path: Path
) -> None:
    (code,) = blocks(name, "python")
    (tmp_path / "hello.py").write_text(code, encoding="utf-8")
    dev_line, send_line = command_words(name, "dev --app"), command_words(name, "send")
    with Dev(*dev_line[1:], "--port", "0", cwd=tmp_path) as dev:
        sent = CliRunner().invoke(cli, [*send_line, "--url", dev.url, "--json"])
        assert sent.exit_code == 0, sent.output
        dev.wait_for('"Welcome, ada!"')
        assert dev.interrupt() == 0


@pytest.mark.parametrize("name", PAGES)
def test_the_code_that_a_page_shows_runs(name: str) -> None:
    names: dict[str, object] = {}
    for code in blocks(name, "python"):
        exec(compile(code, name, "exec"), names)


def command_words(name: str, start: str) -> list[str]:
    """Return the words of the first `inngest-serverless` command of a page that starts so."""
    head = f"inngest-serverless {start}"
    return shlex.split(next(line for line in shell_lines(name) if line.startswith(head)))[1:]
