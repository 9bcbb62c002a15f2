"""The fake as a process of its own: `python -m django_chatgpt.testing --port 4711`."""

import argparse
import itertools
import signal
import sys
import threading
from pathlib import Path

import jiter

from django_chatgpt.testing.fake import FakeOpenAI
from django_chatgpt.testing.steps import Step, parse_step


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted, after a line with the base URL on standard output."""
    parser = argparse.ArgumentParser(prog="python -m django_chatgpt.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0, the default, takes any")
    parser.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="wait before each piece")
    parser.add_argument("--script", type=Path, metavar="FILE", help="JSON array of steps, answered in turn")
    parser.add_argument("--repeat", action="store_true", help="begin the script again at its end")
    parser.add_argument("--api-key", help="the only key that is taken")
    parser.add_argument("--lenient", action="store_true", help="take requests that OpenAI would refuse")
    options = parser.parse_args(arguments)
    fake = FakeOpenAI(
        port=options.port, api_key=options.api_key, strict=not options.lenient, delay=options.delay
    )
    if options.script is not None:
        try:
            steps = load(options.script)
        except (OSError, ValueError) as error:
            parser.error(f"--script: {error}")
        if options.repeat and steps:
            again = itertools.cycle(steps)
            fake.respond_with(lambda request: next(again))
        else:
            fake.script(*steps)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with fake:
        sys.stdout.write(f"{fake.base_url}\n")
        sys.stdout.flush()
        stop.wait()
    return 0


def load(path: Path) -> list[Step]:
    """The steps in a JSON file; ValueError for anything else."""
    value = jiter.from_json(path.read_bytes())
    if not isinstance(value, list):
        raise ValueError("the file must hold an array of steps")
    return [parse_step(step) for step in value]


if __name__ == "__main__":
    sys.exit(main())
