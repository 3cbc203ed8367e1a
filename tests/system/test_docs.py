"""The documentation tells the truth: its programs run, its options and links exist.

A block of Python is a script of its own. It runs as it stands, in a process and a directory of its own,
with the demo's table behind the environment's AWS settings. It ends by itself, or by Ctrl-C once it has
printed a line. One that belongs in a file, as an HTML comment above it says, is run by pytest. Several run
at the same time, because some wait ten seconds for their first buffer.

That Sphinx makes pages of it without a warning is up to .ci/run.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import itertools
import json
import os
import pkgutil
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from support.blocks import Block, blocks_of
from support.checkout import DOCS, README, ROOT
from support.waiting import PATIENCE

import rxddbstream
import rxddbstream.errors
import rxddbstream.operators
import rxddbstream.testing
from rxddbstream.cli.arguments import COMMANDS, command, parse
from rxddbstream.demo import REGION

PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.glob("*.md")),
    *sorted(DOCS.glob("howto/*.md")),
]
MODULES = [
    "rxddbstream",
    *(module.name for module in pkgutil.walk_packages(rxddbstream.__path__, "rxddbstream.")),
]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
AT_ONCE = 4
DATA = [block for block in BLOCKS if block.marker.startswith("file: ") and block.language == "text"]
SHELL = [block for block in BLOCKS if block.language == "sh"]


@pytest.fixture(scope="module")
def settings() -> Iterator[dict[str, str]]:
    with demo_table_elsewhere() as endpoint_url:
        yield {
            "AWS_ENDPOINT_URL": endpoint_url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "demo",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@pytest.fixture(scope="module")
def results(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[str]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            block.name: pool.submit(complaints_of, block, tmp_path_factory.mktemp("block"), settings)
            for block in PYTHON
        }
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def demo_table_elsewhere() -> Iterator[str]:
    """The demo's table in another process, since there is one in a process; its endpoint."""
    script = """if True:
        from rxddbstream.demo import demo_table
        with demo_table(rate=20) as table:
            print(table.endpoint_url, flush=True)
            input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.write("\n")


def complaints_of(block: Block, directory: Path, settings: dict[str, str]) -> str:
    """Run a block; what it wrote to standard error, but for the traceback of Ctrl-C."""
    if block.marker.startswith("file: "):
        return failures_of(block, directory)
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", block.text],
        cwd=directory,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        at_last = threading.Timer(100, process.kill)
        at_last.daemon = True
        at_last.start()
        assert process.stdout is not None
        if process.stdout.readline():
            # Time to print some more. One that ends by itself is not interrupted while it does.
            ends = re.search(r"follow=False|ops\.take\(", block.text)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE if ends else 0.5)
            process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
        at_last.cancel()
    if process.returncode == -signal.SIGINT:
        traceback, _, last = errors.rstrip().rpartition("\n")
        return traceback.partition("Traceback")[0] if last in ("", "KeyboardInterrupt") else errors
    return errors if process.returncode == 0 else f"status {process.returncode}: {errors}"


def failures_of(block: Block, directory: Path) -> str:
    """Put a block in the file that it names, and its page's data beside it, and run pytest on it.

    Returns:
        What that wrote, unless all is well.
    """
    file = directory / block.marker.removeprefix("file: ")
    for each in {block, *(other for other in DATA if other.page == block.page)}:
        (directory / each.marker.removeprefix("file: ")).write_text(each.text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", file.name]
    ended = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100)
    return "" if ended.returncode == 0 else ended.stdout


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_runs_as_it_stands(block: Block, results: dict[str, Future[str]]) -> None:
    assert results[block.name].result() == ""


@pytest.mark.parametrize("module", MODULES)
def test_doctests(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0


def test_the_demo_prints_what_the_readme_shows() -> None:
    [shown] = [block for block in BLOCKS if block.marker == "output: rxddbstream demo -n 10"]
    command = [sys.executable, "-m", "rxddbstream", "demo", "-n", "10", "--rate", "100"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    time = re.compile(r"^\[[^]]+\]", re.MULTILINE)
    assert time.sub("[time]", printed) == time.sub("[time]", shown.text)


@pytest.mark.parametrize("marker", ["demo", "tests"])
def test_the_readme_has_one_command_of_one_line_for_each(marker: str) -> None:
    [block] = [block for block in blocks_of(README) if block.marker == marker]
    assert block.language == "sh"
    assert block.text.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert block.text.count("\n") == 1


def commands(program: str) -> Iterator[Any]:
    """Each line of the shell blocks that runs a program, as the arguments after its name."""
    for block in SHELL:
        for line in block.text.replace("\\\n", "").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.whitespace_split = True
            for is_operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("();<>|&")):
                name, *arguments = words
                if not is_operator and Path(name).name == program:
                    yield pytest.param(arguments, id=f"{block.name} {' '.join(arguments)}")


@pytest.mark.parametrize("arguments", list(commands("rxddbstream")))
def test_command_lines_are_understood(arguments: list[str]) -> None:
    assert parse(arguments).command  # which exits where it does not understand them


@pytest.mark.parametrize("arguments", [*commands("python")])
def test_programs_are_there_and_have_the_options(arguments: list[str]) -> None:
    program = ROOT / arguments[0]
    source = (program / "__main__.py" if program.is_dir() else program).read_text()
    for option in arguments[1:]:
        assert not option.startswith("-") or f'"{option}"' in source, option


def test_options_in_the_text_are_in_the_help() -> None:
    known = set(
        re.findall(r"(?<![\w-])--?[a-z][\w-]*", "".join(map(help_of, [[], *([name] for name in COMMANDS)])))
    )
    named = {
        option
        for page in PAGES
        for code in inline_code(page)
        if code.startswith(("-", "rxddbstream "))
        for option in re.findall(r"(?<![\w-])--?[a-z][\w-]*", code)
    }
    assert named >= {"-n", "--checkpoint"}
    assert named - known == set()


def test_every_option_has_a_line_in_the_documentation_and_a_test() -> None:
    text = "".join(page.read_text() for page in PAGES if page.parent.name == "docs")
    documented = set(re.findall(r"`(--?[a-z][\w-]*)", text))
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    tried = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", tests))
    for name in ["watch", *COMMANDS]:
        for action in command(name).parser()._actions:
            if action.dest != "help":
                missing = {*action.option_strings} - documented, {*action.option_strings} - tried
                assert missing == (set(), set()), f"{name}: not documented, not tested"


def test_every_command_is_in_the_command_lines_page_and_in_the_readme() -> None:
    for page in (ROOT / "docs" / "command-line.md", README):
        named = set(re.findall(r"rxddbstream (\w+)", page.read_text()))
        assert COMMANDS.keys() - named == set(), page.name


def help_of(command: list[str]) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), pytest.raises(SystemExit):
        parse([*command, "--help"])
    return text.getvalue()


def test_names_in_the_text_exist() -> None:
    for page in PAGES:
        for code in inline_code(page):
            for name in re.findall(r"\brxd\.(\w+)", code):
                assert hasattr(rxddbstream, name), f"{page.name}: {code}"
            for name in re.findall(r"\bdops\.(\w+)", code):
                assert hasattr(rxddbstream.operators, name), f"{page.name}: {code}"


def inline_code(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def test_modules_in_the_design_exist() -> None:
    for name in inline_code(ROOT / "docs" / "design.md"):
        if name.endswith((".py", "/")):
            assert (ROOT / "rxddbstream" / name).exists(), name


def test_the_design_has_a_sentence_for_each_room() -> None:
    package = ROOT / "rxddbstream"
    folders = {f"{path.parent.name}/" for path in package.glob("*/__init__.py")}
    rooms = {path.name for path in package.glob("*.py")} - {"__init__.py"} | folders
    rows = re.findall(r"^\| `([^`]+)` \| ", (DOCS / "design.md").read_text(), re.MULTILINE)
    assert sorted(rooms) == sorted(rows)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if link.startswith("https://"):
            continue
        name, _, heading = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        assert not heading or heading in headings_of(target), link


def headings_of(page: Path) -> set[str]:
    """As GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


# --- the reference ------------------------------------------------------------------------------

OPERATORS = [
    name for name in rxddbstream.operators.__all__ if inspect.isfunction(getattr(rxddbstream.operators, name))
]


def test_every_public_name_is_in_the_reference() -> None:
    page = (DOCS / "api.md").read_text()
    described = set(re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)$", page, re.MULTILINE))
    public = {
        f"{module.__name__}.{name}"
        for module in (rxddbstream, rxddbstream.operators, rxddbstream.testing)
        for name in module.__all__
    }
    public |= {rxddbstream.errors.__name__}  # with all of its members
    public |= {"rxddbstream.demo.demo_table", "rxddbstream.telemetry.instrument"}
    assert public - described == set()
    assert described - public == {"rxddbstream.demo.DemoTable"}  # what demo_table gives


@pytest.mark.parametrize("name", OPERATORS)
def test_each_operator_is_told_of_and_drawn(name: str) -> None:
    pages = [DOCS / "operators.md", DOCS / "windows.md"]
    lines = [line for page in pages for line in page.read_text().splitlines()]
    assert any(
        re.search(rf"\b{name}\b", line, re.IGNORECASE) for line in lines if line.startswith(("#", "|"))
    )
    drawn = [line for line in lines if line.startswith("    ")]
    drawn += [block.text for block in BLOCKS if block.page in pages and block.marker == "marbles"]
    assert any(re.search(rf"\b{name}\(", text) for text in drawn)


# --- permissions, containers --------------------------------------------------------------------


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if block.language == "json"], ids=lambda block: block.name
)
def test_json_can_be_parsed(block: Block) -> None:
    assert json.loads(block.text)  # which raises where it is none


def actions_of(policy: str) -> set[str]:
    [block] = [block for block in BLOCKS if block.marker == f"policy: {policy}"]
    found: set[str] = set()
    for statement in json.loads(block.text)["Statement"]:
        action = statement["Action"]
        found |= {action} if isinstance(action, str) else set(action)
    return found


def calls_of(module: str) -> set[str]:
    """The actions of all operations that a module calls: by a method, or by a method's name as text."""
    called = {
        node.attr if isinstance(node, ast.Attribute) else node.value
        for node in ast.walk(ast.parse((ROOT / "rxddbstream" / module).read_text()))
        if isinstance(node, ast.Attribute | ast.Constant)
    }
    clients = [boto3.client(name, region_name=REGION) for name in ("dynamodb", "dynamodbstreams")]
    operations = {operation for client in clients for operation in client.meta.service_model.operation_names}
    actions = {f"dynamodb:{operation}" for operation in operations if xform_name(operation) in called}
    # A transaction takes the permissions of what is in it.
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    return actions - {"dynamodb:TransactWriteItems"}


def test_the_policies_allow_what_is_called_and_nothing_else() -> None:
    found = calls_of("aws/connect.py")
    assert found == {"dynamodb:DescribeTable", "dynamodb:ListStreams"}
    assert actions_of("listing") == found - {"dynamodb:DescribeTable"}
    assert actions_of("reading") == (calls_of("aws/client.py") | found) - actions_of("listing")
    store = calls_of("checkpoints/dynamodb.py") | calls_of("checkpoints/dynamodb_table.py")
    assert actions_of("checkpoints") == store


def test_no_other_module_calls_anything_else() -> None:
    package = ROOT / "rxddbstream"
    modules = {path.relative_to(package) for path in package.rglob("*.py")}
    called = [calls_of(str(path)) for path in modules if path.parts[0] not in ("testing", "demo.py")]
    assert set().union(*called) == actions_of("reading") | actions_of("listing") | actions_of("checkpoints")


def program(name: str) -> Block:
    [block] = [block for block in PYTHON if block.marker == f"program: {name}"]
    return block


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM")
def test_sigterm_ends_the_container_s_program_and_writes_a_checkpoint(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-W", "error", "-c", program("consumer.py").text],
        cwd=tmp_path,
        env=os.environ | settings | {"CHECKPOINT": "here"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=PATIENCE)[1]
    assert (process.returncode, errors) == (143, "")
    # It did not run for the 5 seconds after which there is one anyway.
    with contextlib.closing(sqlite3.connect(tmp_path / "here")) as file:
        assert file.execute("SELECT 1 FROM checkpoint WHERE position LIKE '1 AFTER%'").fetchall()


def test_the_dockerfile_names_what_there_is() -> None:
    [block] = [block for block in BLOCKS if block.language == "dockerfile"]
    instructions = dict.fromkeys(block.text.splitlines())
    [image] = [line for line in instructions if line.startswith("FROM ")]
    version = re.fullmatch(r"FROM python:([\d.]+)-slim", image)
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]

    copied = dict(line.split()[1:] for line in instructions if line.startswith("COPY "))
    assert copied.pop(project["name"]) in block.text.partition("pip install")[2]  # the checkout
    assert {program(name).marker for name in copied} == {"program: consumer.py"}
    [command] = [line.removeprefix("CMD ") for line in instructions if line.startswith("CMD ")]
    assert json.loads(command) == ["python", copied["consumer.py"]]
    [variable] = re.findall(r"(\w+)=/data/", block.text)
    assert f'"{variable}"' in program("consumer.py").text
