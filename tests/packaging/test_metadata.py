"""What the distribution says of itself agrees with what the repository says and does."""

import ast
import re
import shlex
import sys
import tomllib
from configparser import ConfigParser
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.strictness import EXTRAS

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: Modules of distributions that another one pins or wraps, so that naming them would say nothing.
COMES_WITH = {"pydantic_core": "pydantic", "httpcore2": "httpx2", "referencing": "jsonschema"}

#: Modules that only run where their user has brought them: the pytest plugin.
BROUGHT = {"pytest"}


def imported_modules() -> set[str]:
    """The top-level names that the package imports, anywhere in it."""
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"django_chatgpt"}


def distribution_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def commands(readme: str) -> list[str]:
    """The shell lines of every fenced block of a page."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)
    return [
        line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines() if line.strip()
    ]


def test_every_extra_is_known_to_the_tests() -> None:
    assert PROJECT["optional-dependencies"].keys() == EXTRAS.keys() | {"demo", "all"}


def test_all_names_every_extra_but_the_demo() -> None:
    [everything] = PROJECT["optional-dependencies"]["all"]
    assert set(re.findall(r"\w+", everything.partition("[")[2])) == EXTRAS.keys()


def test_everything_imported_is_required_or_an_extra() -> None:
    extras = {module for modules in EXTRAS.values() for module in modules}
    providers = packages_distributions()
    required = distribution_names(PROJECT["dependencies"])
    undeclared = {
        module
        for module in imported_modules() - extras - BROUGHT
        if required.isdisjoint(
            name.lower().replace("_", "-") for name in providers.get(COMES_WITH.get(module, module), [])
        )
    }
    assert undeclared == set()


def test_every_tested_python_and_django_is_announced() -> None:
    tox = (ROOT / "tox.ini").read_text()
    [pairs] = re.findall(r"^    py\{([\w,-]+)\}-\{bare,all\}$", tox, re.MULTILINE)
    tested = [re.fullmatch(r"3(\d+)-dj(\d)(\d)", pair) for pair in pairs.split(",")]
    announced = {
        name.rpartition(" :: ")[2]
        for name in PROJECT["classifiers"]
        if re.search(r"(Python|Django) :: \d\.\d+$", name)
    }
    assert announced == {f"3.{m[1]}" for m in tested if m} | {f"{m[2]}.{m[3]}" for m in tested if m}


def test_the_changelog_opens_with_this_version() -> None:
    versions = re.findall(r"^## \[(.+?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0][0] == PROJECT["version"]
    assert all(re.fullmatch(r"unreleased|\d{4}-\d\d-\d\d", date) for _, date in versions)


def test_the_readme_says_how_to_run_the_tests() -> None:
    tests = [line for line in commands((ROOT / "README.md").read_text()) if line.endswith("tox")]
    assert tests, "no line of a code block ends in tox"
    install, run = tests[0].split("&&")
    assert shlex.split(install) == ["python", "-m", "pip", "install", "tox"]
    assert shlex.split(run)[-1] == "tox"


def test_the_environments_can_be_read() -> None:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini")
    wanted = [line.strip() for line in parser["tox"]["env_list"].splitlines() if line.strip()]
    named = {name.partition(":")[2] for name in parser.sections() if name.startswith("testenv:")}
    assert {name for name in wanted if not name.startswith("py")} <= named
