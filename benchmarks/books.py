"""Whether a run left anything open, and whether the ledger says what the model gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from typing import Any


def counts(model_port: int, path: str = "/counts") -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{model_port}{path}") as response:
        found: dict[str, Any] = json.load(response)
    return found


def accounts(env: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.accounts"], env=os.environ | env, check=True, capture_output=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def close(env: dict[str, str], model_port: int, seconds: float = 60) -> list[str]:
    """Wait until nothing is open any more, at most so long; what is wrong then.

    Every request that the model was sent has its row, and every row a request. Where the model has counted,
    the ledger says the same; where somebody left before that, it says so. Connections that are kept for the
    next request are given up after half a minute.
    """
    until = time.monotonic() + seconds
    while True:
        found, model = accounts(env), counts(model_port)
        # The one that asks is a connection too.
        is_open = found["running"] or model["open"] or model["connections"] > 1
        if not is_open or time.monotonic() > until:
            break
        time.sleep(1)
    wrong = [f"{found[name]} {name}" for name in ("running", "reserved") if found[name]]
    if model["open"]:
        wrong.append(f"{model['open']} answers that the model still gives")
    if model["connections"] > 1:
        wrong.append(f"{model['connections'] - 1} connections to the model")
    wrong += differences(found["ledger"], counts(model_port, "/asked"))
    sources = Counter(f"{outcome}, {source}" for _, source, outcome, _ in found["ledger"])
    print(f"turns {found['turns']}; ledger {dict(sources)}; model {model}")
    return wrong


def differences(ledger: list[tuple[str, str, str, int]], asked: dict[str, int | None]) -> list[str]:
    """`asked`: the tokens that the model counted by request id, None where nobody waited for it."""
    known = {request_id: (source, tokens) for request_id, source, _, tokens in ledger if request_id}
    unnamed = len(ledger) - len(known)
    missing = len(asked.keys() - known.keys())
    wrong = []
    if len(ledger) != len(asked) or missing > unnamed:
        wrong.append(f"{len(ledger)} rows for {len(asked)} requests, {missing} of which no row names")
    for request_id, (source, tokens) in known.items():
        if request_id not in asked:
            wrong.append(f"{request_id} was never asked")
        elif source == "provider" and tokens != asked[request_id]:
            wrong.append(f"{request_id}: {tokens} tokens in the ledger, the model says {asked[request_id]}")
    return wrong
