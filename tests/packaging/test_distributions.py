"""What is uploaded: both distributions are looked over, and the wheel answers questions in an empty site."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import pytest

from tests.strictness import EXTRAS

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a-long-secret"

#: The shipped fake, run by the site's own Python until its input is closed.
FAKE = """
import sys
from django_chatgpt.testing import FakeOpenAI
with FakeOpenAI() as fake:
    fake.script("Whole.", "In pieces, as they come.")
    print(fake.base_url, flush=True)
    sys.stdin.read()
"""


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of somebody who has nothing to do with this repository."""
    ours = ("PYTHON", "DJANGO", "OPENAI", "PYTEST", "COVERAGE", "VIRTUAL_ENV", "TOX")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | extra


def run(*command: str | Path, cwd: Path, **extra: str) -> str:
    """The output of a command that must succeed."""
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=clean_environment(**extra),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--installer=uv", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    [found] = distributions.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def site_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment in which the wheel was installed, and nothing else was asked for."""
    folder = tmp_path_factory.mktemp("venv") / "env"
    uv = shutil.which("uv")
    assert uv is not None
    run(uv, "venv", "--python", sys.executable, folder, cwd=folder.parent)
    run(uv, "pip", "install", "--python", folder, wheel, cwd=folder.parent)
    return folder / "bin" / "python"


def test_both_pass_the_checks_of_the_index(distributions: Path) -> None:
    files = sorted(distributions.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"] or [file.suffix for file in files] == [
        ".gz",
        ".whl",
    ]
    said = run(sys.executable, "-m", "twine", "check", "--strict", *files, cwd=distributions)
    assert said.count("PASSED") == 2


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = ROOT / "src"
    package = {
        path.relative_to(source).as_posix()
        for path in (source / "django_chatgpt").rglob("*")
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts)
    }
    assert {name for name in names if ".dist-info/" not in name} == package
    assert "django_chatgpt/py.typed" in package
    assert "django_chatgpt/migrations/0001_initial.py" in package


def test_the_sdist_holds_what_its_tests_need(distributions: Path) -> None:
    [sdist] = distributions.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "tox.ini", "LICENSE", "README.md", "CHANGELOG.md", "tests/conftest.py"} <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".sqlite3", ".gguf"))]


def test_the_wheel_brings_no_extra(site_python: Path) -> None:
    modules = sorted(module for modules in EXTRAS.values() for module in modules)
    code = f"import importlib.util as u; print([m for m in {modules!r} if u.find_spec(m)])"
    assert run(site_python, "-c", code, cwd=site_python.parent).strip() == "[]"


@contextmanager
def serving(*command: str | Path, cwd: Path, log: Path, **extra: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs while the block does."""
    with log.open("w") as errors:
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=clean_environment(**extra),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=20)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


class Browser:
    """As much of a browser as the site asks for: cookies, and the CSRF token in a header."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def wait(self, seconds: float = 30) -> None:
        """Return once the site answers."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.opener.open(f"{self.address}/admin/login/", timeout=5).close()
            except urllib.error.URLError:
                assert time.monotonic() < deadline, "the site did not start"
                time.sleep(0.1)
            else:
                return

    def post(self, path: str, body: bytes, kind: str) -> str:
        token = next(cookie.value or "" for cookie in self.cookies if cookie.name == "csrftoken")
        headers = {"Content-Type": kind, "X-CSRFToken": token, "Referer": self.address}
        request = urllib.request.Request(f"{self.address}{path}", body, headers)
        with self.opener.open(request, timeout=30) as response:
            text: str = response.read().decode()
        return text

    def get(self, path: str) -> Any:
        with self.opener.open(f"{self.address}{path}", timeout=30) as response:
            return json.load(response)


def test_an_empty_site_chats_after_five_steps(site_python: Path, tmp_path: Path) -> None:
    run(site_python, "-m", "django", "startproject", "site1", tmp_path, cwd=tmp_path)
    settings = tmp_path / "site1" / "settings.py"
    urls = tmp_path / "site1" / "urls.py"
    settings.write_text(
        settings.read_text().replace("INSTALLED_APPS = [", 'INSTALLED_APPS = [\n    "django_chatgpt",', 1)
    )
    urls.write_text(
        "from django.urls import include\n"
        + urls.read_text().replace(
            "urlpatterns = [", 'urlpatterns = [\n    path("ai/", include("django_chatgpt.urls")),'
        )
    )
    manage = (site_python, "-W", "error::DeprecationWarning", "manage.py")
    run(*manage, "check", cwd=tmp_path, OPENAI_API_KEY="sk-not-used")
    run(*manage, "makemigrations", "--check", cwd=tmp_path)
    run(*manage, "migrate", "--verbosity=0", cwd=tmp_path)
    run(
        *manage,
        "createsuperuser",
        "--noinput",
        "--username=ada",
        "--email=ada@example.com",
        cwd=tmp_path,
        DJANGO_SUPERUSER_PASSWORD=PASSWORD,
    )
    with serving(site_python, "-c", FAKE, cwd=tmp_path, log=tmp_path / "fake.log") as fake:
        base_url = first_line(fake)
        assert base_url.startswith("http://127.0.0.1"), (tmp_path / "fake.log").read_text()
        port = free_port()
        with serving(
            *manage,
            "runserver",
            "--noreload",
            f"127.0.0.1:{port}",
            cwd=tmp_path,
            log=tmp_path / "site.log",
            OPENAI_API_KEY="sk-not-a-real-one",
            OPENAI_BASE_URL=base_url,
        ):
            browser = Browser(f"http://127.0.0.1:{port}")
            browser.wait()
            browser.post(
                "/admin/login/",
                f"username=ada&password={PASSWORD}&next=/admin/".encode(),
                "application/x-www-form-urlencoded",
            )
            whole = json.loads(browser.post("/ai/chat/", b'{"message": "Hello?"}', "application/json"))
            again = {"message": "And then?", "stream": True, "conversation_id": whole["conversation_id"]}
            streamed = browser.post("/ai/chat/", json.dumps(again).encode(), "application/json")
            kept = browser.get(f"/ai/conversations/{whole['conversation_id']}/")
    assert whole["message"]["content"] == "Whole."
    assert whole["usage"]["total_tokens"] > 0
    events = [json.loads(line) for line in re.findall(r"^data: (\{.*)$", streamed, flags=re.MULTILINE)]
    assert (
        "".join(event["content"] for event in events if event["type"] == "content")
        == "In pieces, as they come."
    )
    assert [event["type"] for event in events if event["type"] != "content"] == ["start", "finish", "done"]
    assert [message["content"] for message in kept["messages"]] == [
        "Hello?",
        "Whole.",
        "And then?",
        "In pieces, as they come.",
    ]
    assert "sk-not-a-real-one" not in (tmp_path / "site.log").read_text()
