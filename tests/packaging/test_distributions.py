"""What is uploaded: both distributions are looked over, and the wheel answers questions in an empty site."""

import json
import re
import shutil
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.packaging.visitor import PASSWORD, ROOT, Browser, first_line, free_port, run, serving
from tests.strictness import EXTRAS

pytestmark = [pytest.mark.dist, pytest.mark.timeout(400)]


#: The shipped fake, run by the site's own Python until its input is closed.
FAKE = """
import sys
from django_chatgpt.testing import FakeOpenAI
with FakeOpenAI() as fake:
    fake.script("Whole.", "In pieces, as they come.")
    print(fake.base_url, flush=True)
    sys.stdin.read()
"""


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


def test_the_wheel_is_laid_out_as_wheels_are(wheel: Path) -> None:
    said = run(
        sys.executable, "-m", "check_wheel_contents", "--config", ROOT / "pyproject.toml", wheel, cwd=ROOT
    )
    assert said.rstrip().endswith("OK")


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
