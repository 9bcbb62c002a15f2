"""The plugin as other projects meet it: in a pytest of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

PLUGIN = "django_chatgpt.testing.pytest_plugin"
INSTALLED = any(point.value == PLUGIN for point in entry_points(group="pytest11"))

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a test module in an empty directory; its summary line and failures."""

    def run(source: str, *options: str, files: dict[str, str] | None = None, **environment: str) -> str:
        for name, text in ({"test_it.py": source} | (files or {})).items():
            (tmp_path / name).write_text(text)
        plugin = [] if INSTALLED else ["-p", PLUGIN]
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", *plugin, *options],
            cwd=tmp_path,
            env=inherited | environment,
            capture_output=True,
            text=True,
            timeout=100,
        )
        return finished.stdout + finished.stderr

    return run


ALONE = ("-p", "no:randomly", "-p", "no:asyncio", "--strict-markers")
WITHOUT = (*ALONE, "-p", "no:django")

STRAY = """
import httpx2, pytest, unittest

def test_stray():
    httpx2.get("http://api.openai.invalid/")

@pytest.fixture(scope="module")
def wide():
    httpx2.get("http://api.openai.invalid/")

def test_stray_in_a_wide_fixture(wide):
    pass

class StrayCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        httpx2.get("http://api.openai.invalid/")

    def test_nothing(self):
        pass

@pytest.mark.allow_openai
def test_meant():
    with pytest.raises(httpx2.ConnectError):
        httpx2.get("http://api.openai.invalid/")
"""


def test_stray_requests_fail_a_test_wherever_they_are_made(run: Run) -> None:
    output = run(STRAY, *WITHOUT)
    assert output.count("StrayRequest: a request to 'api.openai.invalid' was refused") >= 3
    assert "1 failed, 1 passed, 2 errors" in output


def test_hosts_can_be_allowed(run: Run) -> None:
    output = run(
        "import httpx2, pytest\n"
        "def test_meant():\n"
        "    with pytest.raises(httpx2.ConnectError):\n"
        "        httpx2.get('http://other.invalid/')\n",
        *WITHOUT,
        files={"pytest.ini": "[pytest]\nopenai_allow_hosts =\n    other.invalid\n"},
    )
    assert "1 passed" in output


FIXTURE = """
import httpx2, pytest

BODY = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "Hi"}]}

def ask(fake):
    headers = {"authorization": "Bearer k"}
    return httpx2.post(fake.base_url + "/chat/completions", json=BODY, headers=headers).json()

def test_one(fake_openai):
    fake_openai.script("one", "left over")
    assert ask(fake_openai)["choices"][0]["message"]["content"] == "one"

def test_two(fake_openai):
    fake_openai.assert_nothing_asked()
    assert ask(fake_openai)["choices"][0]["message"]["content"] == "You said: Hi"

def test_a_broken_responder(fake_openai):
    fake_openai.respond_with(lambda request: 1 / 0)
    assert "ZeroDivisionError" in ask(fake_openai)["error"]["message"]

def test_three(fake_openai):
    fake_openai.raise_errors()
"""


def test_the_fixture_without_django(run: Run) -> None:
    output = run(FIXTURE, *WITHOUT)
    assert "ERROR test_it.py::test_a_broken_responder - ZeroDivisionError" in output
    assert "4 passed, 1 error" in output


SETTINGS = {"shop_settings.py": 'SECRET_KEY = "x"\nOPENAI_API_KEY = "sk-real"\nOPENAI_BASE_URL = None\n'}
POINTED = """
from django.conf import settings

def test_settings_point_at_it(fake_openai):
    assert settings.OPENAI_BASE_URL == fake_openai.base_url
    assert settings.OPENAI_API_KEY == fake_openai.api_key != "sk-real"

def test_afterwards_they_do_not():
    assert settings.OPENAI_API_KEY == "sk-real"
    assert settings.OPENAI_BASE_URL is None
"""


def test_the_fixture_where_django_is_set_up_by_its_environment(run: Run) -> None:
    output = run(POINTED, *WITHOUT, files=SETTINGS, DJANGO_SETTINGS_MODULE="shop_settings", PYTHONPATH=".")
    assert "2 passed" in output


def test_the_fixture_under_pytest_django(run: Run) -> None:
    pytest.importorskip("pytest_django")
    output = run(POINTED, *ALONE, "--ds=shop_settings", files=SETTINGS, PYTHONPATH=".")
    assert "2 passed" in output


UNITTEST = """
from django.conf import settings
from django.test import SimpleTestCase
from django_chatgpt.testing import FakeOpenAI

class ChatCase(SimpleTestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.fake = cls.enterClassContext(FakeOpenAI())
        cls.enterClassContext(cls.fake.settings(OPENAI_API="responses"))

    def test_settings_point_at_it(self):
        self.assertEqual(settings.OPENAI_BASE_URL, self.fake.base_url)
        self.assertEqual(settings.OPENAI_API, "responses")
        self.fake.assert_nothing_asked()
"""


def test_a_django_test_case_without_pytest(tmp_path: Path) -> None:
    for name, text in (SETTINGS | {"test_case.py": UNITTEST}).items():
        (tmp_path / name).write_text(text)
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "django", "test", "--settings=shop_settings"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert finished.returncode == 0, finished.stderr
    assert "Ran 1 test" in finished.stderr


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("django_chatgpt.testing", ["pytest", "django", "openai", "httpx2", "numpy"]),
        (PLUGIN, ["django", "openai", "httpx2", "numpy"]),
    ],
)
def test_importing_is_light(module: str, absent: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"
