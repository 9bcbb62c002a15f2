"""The demo, step by step: model, database, site, a visitor's question, what it took, what was kept."""

import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from io import StringIO
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import httpx2
from local_model import LocalModelError, running_model
from site_server import SiteError, bound_socket, running_site
from visitor import Answer, Call, VisitError, Visitor

QUESTIONS = ("What is Django?", "What is the weather in Paris?")
USERNAME = "demo"
CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class DemoError(Exception):
    """The demo did not show what it promises; the message says what was missing."""


def run(*, once: str | None, port: int | None) -> int:
    """Walk through; gives the exit status. Problems are one sentence on standard error."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        with ExitStack() as stack:
            _walk(stack, once, port)
    except KeyboardInterrupt:
        print("\nStopped.", flush=True)
        return 0 if once is None else 130
    except (DemoError, LocalModelError, SiteError, VisitError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except httpx2.HTTPError as error:
        print(f"\nThe site could not be used: {error!r}", file=sys.stderr)
        return 1
    return 0


def check(question: str, answer: Answer, stored: dict[str, Any]) -> None:
    """Raise DemoError unless the answer came in pieces, ended, was counted, and is stored as it was shown.

    The same goes for the functions it called: each has a result, and the transcript has both.
    """
    if answer.finish is None or not answer.done:
        raise DemoError("The stream ended without saying that the answer is complete.")
    if len(answer.pieces) < 2:
        raise DemoError(f"The answer came in {len(answer.pieces)} piece(s): it was not streamed.")
    if not answer.usage.get("prompt_tokens") or not answer.usage.get("completion_tokens"):
        raise DemoError(f"The answer's tokens are missing: {answer.usage}.")
    unanswered = [call.name for call in answer.calls if not call.status]
    if unanswered:
        raise DemoError(f"The model called {', '.join(unanswered)}, and the result is missing.")
    if not _is_kept(question, answer, stored["messages"]):
        count = len(stored["messages"])
        raise DemoError(f"The stored conversation is not what was said: it has {count} messages.")
    if stored["total_tokens"] != answer.usage["total_tokens"]:
        counted, used = stored["total_tokens"], answer.usage["total_tokens"]
        raise DemoError(f"The conversation counts {counted} tokens, the answer took {used}.")


def _walk(stack: ExitStack, once: str | None, port: int | None) -> None:
    listener = bound_socket(0 if once is not None and port is None else port)
    stack.callback(listener.close)
    _line("Model", stack.enter_context(chosen_model()))
    password, database = prepared_database()
    _line("Database", f"SQLite, {database}")
    address = stack.enter_context(running_site(listener))
    _line("Site", f"{address}/ai/")
    _line("Log in as", f"{USERNAME}, password {password} (new at each start)")
    with Visitor(address) as visitor:
        visitor.log_in(USERNAME, password)
        for question in QUESTIONS if once is None else (once,):
            _ask(visitor, question)
    if once is None:
        print(f"\nServing at {address}/ai/ (log in as {USERNAME}, password {password}). Ctrl-C stops.")
        sys.stdout.flush()
        while True:
            time.sleep(0.1)  # a signal that comes just before a sleep is only heard after it


def _ask(visitor: Visitor, question: str) -> None:
    """One question, its answer as it comes, what it took, and what is stored of it."""
    _line("Question", question)
    print(flush=True)
    answer = visitor.ask(question, _show)
    while answer.waits and (call := next((each for each in answer.calls if each.requires_approval), None)):
        visitor.decide(answer, call, _is_approved(call), _show)
    print("\n", flush=True)
    stored = visitor.conversation(answer.conversation_id) if answer.conversation_id else {"messages": []}
    check(question, answer, stored)
    _report(answer, stored)


def _is_kept(question: str, answer: Answer, messages: list[dict[str, Any]]) -> bool:
    """Whether a transcript is this question, this answer and these calls with their results."""
    said = {role: [each for each in messages if each["role"] == role] for role in ("assistant", "tool")}
    made = [call["id"] for message in said["assistant"] for call in message.get("tool_calls", ())]
    results = {message["tool_call_id"]: message["content"] for message in said["tool"]}
    return (
        bool(messages)
        and (messages[0]["role"], messages[0]["content"]) == ("user", question)
        and messages[-1]["role"] == "assistant"
        and len(messages) == 1 + len(said["assistant"]) + len(said["tool"])
        and "".join(message["content"] for message in said["assistant"]) == answer.text
        and made == [call.id for call in answer.calls]
        and results == {call.id: call.result for call in answer.calls}
    )


def _is_approved(call: Call) -> bool:
    """Ask whoever sits at the terminal; where nobody does, the answer is no."""
    if not sys.stdin.isatty():
        print(f"{call.name} needs the approval of a person, and nobody is here to give it.", flush=True)
        return False
    return input(f"Approve {call.name}? [y/N] ").strip().casefold() in ("y", "yes")


@contextmanager
def chosen_model() -> Iterator[str]:
    """Leave in the environment which model the site shall use, starting the local one; describes it."""
    if os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL"):
        name = os.environ.get("OPENAI_DEFAULT_MODEL") or "the site's default model"
        yield f"{name}, at {os.environ.get('OPENAI_BASE_URL') or 'OpenAI'}"
        return
    with running_model() as model:
        os.environ["OPENAI_BASE_URL"] = model.base_url
        os.environ["OPENAI_DEFAULT_MODEL"] = model.name
        yield (
            "SmolLM2-135M-Instruct on this machine: quick, not clever "
            f"({model.base_url}, ready in {model.seconds_to_start:.1f} s)"
        )


def prepared_database(settings: str = "example.settings") -> tuple[str, str]:
    """Check the site, migrate, give the demo user a new password; gives it and the database's file."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = settings
    django.setup()

    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.db import connection

    call_command("check", stdout=StringIO())
    call_command("migrate", verbosity=0, interactive=False)
    password = secrets.token_urlsafe(9)
    user, _ = get_user_model().objects.get_or_create(username=USERNAME)
    user.set_password(password)
    user.save(update_fields=["password"])
    connection.close()
    file, here = Path(connection.settings_dict["NAME"]), Path.cwd()
    return password, str(file.relative_to(here) if file.is_relative_to(here) else file)


def _report(answer: Answer, stored: dict[str, Any]) -> None:
    usage = answer.usage
    _line("Streamed", f"{len(answer.pieces)} pieces, from {answer.first_at:.2f} s to {answer.last_at:.2f} s")
    asked, answered = usage["prompt_tokens"], usage["completion_tokens"]
    _line("Tokens", f"{usage['total_tokens']} ({asked} asked, {answered} answered)")
    _line("Cost", "unknown (this model has no price)" if answer.cost is None else _dollars(answer.cost))
    if answer.calls:
        _line("Functions", ", ".join(f"{call.name} ({call.status})" for call in answer.calls))
    *before, last = [message["role"] for message in stored["messages"]]
    roles = f"{', '.join(before)} and {last}"
    _line("Stored", f"conversation {stored['id']}: {len(stored['messages'])} messages ({roles})")


def _dollars(cost: str) -> str:
    return f"${Decimal(cost).normalize():f}"


def _show(arrived: str | Call) -> None:
    """Text as it comes, calls and results on lines of their own."""
    if isinstance(arrived, str):
        print(_plain(arrived), end="", flush=True)
    elif arrived.status:
        print(f"[{arrived.name}: {_plain(arrived.result)}]", flush=True)
    else:
        print(f"[{arrived.name} {_plain(arrived.arguments)}]", flush=True)


def _plain(text: str) -> str:
    # A model's text must not steer the terminal it is shown in.
    return CONTROL_CHARACTERS.sub("", text)


def _line(label: str, text: str) -> None:
    print(f"{label:<10} {text}", flush=True)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """Stop once, in order: whoever asks again while it happens is already heard."""
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)
    raise KeyboardInterrupt
