"""See django-chatgpt work: `python demo.py` asks a real model a question through a real site."""

import argparse
import importlib.util
import sys

REQUIRED = {"django_chatgpt": "django-chatgpt", "uvicorn": "uvicorn"}


def main() -> int:
    """Run the demo; the exit status is 0 only when the answer streamed, was counted and was stored."""
    parser = argparse.ArgumentParser(
        description="Ask a real model one question through the example site, then keep the site running. "
        "The model is a small one on this machine, or OpenAI's when OPENAI_API_KEY is set."
    )
    parser.add_argument(
        "--once", metavar="QUESTION", help="ask this and exit; 0 if its answer streamed and was kept"
    )
    parser.add_argument("--port", type=int, help="where the site listens (default: 8000, or any free port)")
    options = parser.parse_args()

    missing = [name for module, name in REQUIRED.items() if importlib.util.find_spec(module) is None]
    if missing:
        print(f"The demo needs {' and '.join(missing)}: python -m pip install '.[demo]'", file=sys.stderr)
        return 1
    import walkthrough

    return walkthrough.run(once=options.once, port=options.port)


if __name__ == "__main__":
    sys.exit(main())
