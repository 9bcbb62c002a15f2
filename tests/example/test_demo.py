"""The one command: run as it is run by hand, and its exit status is the truth."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from django_chatgpt.testing import Answer, Call, FakeOpenAI

DEMO = Path(__file__).resolve().parents[2] / "example_project" / "demo.py"
ENDINGS = {"Ctrl-C": signal.SIGINT, "kill": signal.SIGTERM}


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """An OpenAI of this test's own, slow enough that pieces do not run together."""
    with FakeOpenAI(delay=0.02) as fake:
        yield fake


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """What the demo finds around it: a new database, and nothing said about a model."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "DJANGO_"))}
    return kept | {"EXAMPLE_DATABASE": str(tmp_path / "demo.sqlite3")}


@pytest.fixture
def answered_by_fake(environment: dict[str, str], fake: FakeOpenAI) -> dict[str, str]:
    """The same, with the fake as the model's address."""
    said = {"OPENAI_BASE_URL": fake.base_url, "OPENAI_API_KEY": fake.api_key}
    return environment | said | {"OPENAI_DEFAULT_MODEL": "smollm2"}


def run_demo(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DEMO), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_one_question_shows_answer_tokens_cost_and_what_is_stored(
    answered_by_fake: dict[str, str], fake: FakeOpenAI
) -> None:
    fake.reply("Seven is a prime number.")

    done = run_demo(answered_by_fake, "--once", "Is seven prime?")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "Question   Is seven prime?" in lines
    assert "Seven is a prime number." in lines
    assert re.search(r"^Streamed   [2-9] pieces, ", done.stdout, re.MULTILINE)
    assert re.search(r"^Tokens     \d+ \(\d+ asked, \d+ answered\)$", done.stdout, re.MULTILINE)
    assert "Cost       $0" in lines
    assert lines[-1].endswith(": 2 messages (user and assistant)")
    fake.assert_asked(contains="Is seven prime?", times=1)


def calls_on_record(environment: dict[str, str]) -> list[tuple[str, str]]:
    """Each call that the site has written down, with how it ended."""
    database = sqlite3.connect(environment["EXAMPLE_DATABASE"])
    try:
        return database.execute("SELECT name, status FROM ai_function_call ORDER BY id").fetchall()
    finally:
        database.close()


def test_calls_of_functions_are_shown_as_they_happen(
    answered_by_fake: dict[str, str], fake: FakeOpenAI
) -> None:
    fake.script(Answer(calls=[Call("get_weather", {"city": "Paris"})]), Answer("It is sunny in Paris."))

    done = run_demo(answered_by_fake, "--once", "What is the weather in Paris?")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    made = lines.index('[get_weather {"city":"Paris"}]')
    assert lines[made + 1].startswith('[get_weather: {"city":"Paris","sky":"sunny"')
    assert lines[made + 2] == "It is sunny in Paris."
    assert "Functions  get_weather (completed)" in lines
    assert lines[-1].endswith(": 4 messages (user, assistant, tool and assistant)")
    assert calls_on_record(answered_by_fake) == [("get_weather", "completed")]


def test_what_needs_approval_is_declined_where_nobody_is_to_ask(
    answered_by_fake: dict[str, str], fake: FakeOpenAI
) -> None:
    arguments = {"recipient": "Grace", "greeting": "Hello"}
    fake.script(Answer(calls=[Call("send_postcard", arguments)]), Answer("It was not sent."))

    done = run_demo(answered_by_fake, "--once", "Send Grace a postcard")

    assert (done.returncode, done.stderr) == (0, "")
    assert "send_postcard needs the approval of a person, and nobody is here to give it." in done.stdout
    assert "It was not sent." in done.stdout.splitlines()
    assert calls_on_record(answered_by_fake) == [("send_postcard", "denied")]


def test_an_unknown_price_is_said_to_be_unknown(answered_by_fake: dict[str, str], fake: FakeOpenAI) -> None:
    fake.reply("Seven is a prime number.")

    done = run_demo(answered_by_fake | {"OPENAI_DEFAULT_MODEL": "homemade"}, "--once", "Is seven prime?")

    assert "Cost       unknown (this model has no price)" in done.stdout.splitlines()
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer("Yes.", chunks=1), "The answer came in 1 piece(s): it was not streamed."),
        (Answer("Seven is a prime", cut_after=2), "The answer broke off: "),
        (Answer("Seven is a prime", end_early_after=2), "The answer broke off: "),
    ],
    ids=["one piece", "cut", "early end"],
)
def test_an_answer_that_breaks_a_promise_fails_the_command(
    answer: Answer, said: str, answered_by_fake: dict[str, str], fake: FakeOpenAI
) -> None:
    fake.script(answer)

    done = run_demo(answered_by_fake, "--once", "Is seven prime?")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(said)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_it_keeps_serving_until_told_to_stop(
    ending: signal.Signals, answered_by_fake: dict[str, str], fake: FakeOpenAI
) -> None:
    fake.reply("Django is a web framework.")
    demo = subprocess.Popen(
        [sys.executable, str(DEMO)],
        env=answered_by_fake,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    try:
        serving = next(line for line in demo.stdout if line.startswith("Serving at "))
        page = serving.split()[2]
        assert page.endswith("/ai/")
        address = page.removesuffix("ai/")
        login = httpx2.get(f"{address}login/")
        style = httpx2.get(f"{address}static/example/site.css")
        demo.send_signal(ending)
        rest, _ = demo.communicate(timeout=30)
    finally:
        demo.kill()
        demo.communicate()

    assert [login.status_code, style.status_code] == [200, 200]
    assert "csrfmiddlewaretoken" in login.text
    assert style.headers["Content-Type"].startswith("text/css")
    assert (demo.returncode, rest.strip()) == (0, "Stopped.")
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{address}login/")


def test_without_the_packages_it_says_what_to_install(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-S", str(DEMO), "--once", "Hello?"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.startswith("The demo needs django-chatgpt and uvicorn: python -m pip install")


@pytest.mark.realmodel
def test_with_no_key_and_no_server_a_real_model_answers(environment: dict[str, str]) -> None:
    done = run_demo(environment, "--once", "Say hello.")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Model      SmolLM2-135M-Instruct on this machine")
    tokens = re.search(r"^Tokens     (\d+) \((\d+) asked, (\d+) answered\)$", done.stdout, re.MULTILINE)
    assert tokens is not None
    total, asked, answered = map(int, tokens.groups())
    assert total == asked + answered
    assert min(asked, answered) > 1
    assert "Cost       $0" in done.stdout.splitlines()


@pytest.mark.realmodel
def test_the_real_model_answers_with_what_a_function_told_it(environment: dict[str, str]) -> None:
    done = run_demo(environment, "--once", "What is the weather in Paris?")

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "Functions  get_weather (completed)" in lines
    result = next(at for at, line in enumerate(lines) if line.startswith('[get_weather: {"city":"Paris"'))
    assert lines[result + 1].strip()
    assert calls_on_record(environment) == [("get_weather", "completed")]


@pytest.mark.realmodel
def test_the_real_model_looks_into_the_database(environment: dict[str, str]) -> None:
    done = run_demo(environment, "--once", "Find books about gardens")

    assert (done.returncode, done.stderr) == (0, "")
    assert "Functions  search_database (completed)" in done.stdout.splitlines()
    assert calls_on_record(environment) == [("search_database", "completed")]
