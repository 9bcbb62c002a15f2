"""Ask the model from the terminal: one question, or a chat."""

from __future__ import annotations

import json
import os
import stat
import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import AIServiceError, NotConfiguredError
from django_chatgpt.management.people import find_user
from django_chatgpt.management.terminal.screens import Plain, Rendered, Screen, Silent
from django_chatgpt.management.terminal.session import Session, find_conversation
from django_chatgpt.management.terminal.text import one_line, printable
from django_chatgpt.management.terminal.turns import Asking, Outcome
from django_chatgpt.models import AIConfiguration, AIFunctionCall

WAITS = 3
INTERRUPTED = 130
BROKEN_PIPE = 141

REASONS = {
    "length": "The answer was cut off at its longest length: OPENAI_MAX_TOKENS.",
    "content_filter": "The provider's content filter broke the answer off.",
    "max_steps": "The model called functions OPENAI_MAX_TOOL_STEPS times; it may do so no more.",
    "cancelled": "Stopped; what has arrived is kept.",
}


class Command(BaseCommand):
    help = (
        "Ask the model one question, or chat with it where none is given. What comes through a pipe is part "
        "of the question. The answer goes to standard output, everything else to standard error. Exits with "
        "1 after a failure, 3 if a call waits for approval, 130 after Ctrl-C."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("question", nargs="?", help="what to ask; without it, a chat begins")
        parser.add_argument("--user", metavar="NAME", help="ask for this user, not for the site itself")
        parser.add_argument("--conversation", metavar="ID", help='go on with this one, or the "last"')
        parser.add_argument("--configuration", metavar="NAME", help="use this AIConfiguration")
        parser.add_argument("--model", help="ask this model")
        parser.add_argument("--no-functions", action="store_true", help="let the model call no function")
        parser.add_argument("--plain", action="store_true", help="do not render Markdown")
        parser.add_argument("--json", action="store_true", help="print one JSON object, at the end")

    def handle(self, *args: Any, question: str | None, **options: Any) -> None:
        self.stdout.ending = ""
        question = self._whole(question)
        if question is None and options["json"]:
            raise CommandError("--json needs a question.", returncode=2)
        if question is None and not (_is_terminal(sys.stdin) and _is_terminal(self.stdout)):
            raise CommandError('Give a question: manage.py chatgpt "What is Django?"', returncode=2)
        try:
            self._handle(question, options)
        except BrokenPipeError:
            # Whoever read the answer has gone. Python would complain once more, when it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(BROKEN_PIPE)
        except KeyboardInterrupt:
            raise CommandError("Interrupted; what had arrived is kept.", returncode=INTERRUPTED) from None
        except AIServiceError as error:
            raise self._failure(error.code, _in_full(error), options) from error
        except CommandError:
            raise
        except Exception as error:
            if options["traceback"]:
                raise
            said = f"{type(error).__name__}: --traceback shows where. manage.py chatgpt_doctor may know why."
            raise self._failure("internal_error", said, options) from error

    def _handle(self, question: str | None, options: dict[str, Any]) -> None:
        user = None if options["user"] is None else find_user(options["user"])
        asking = Asking(
            user=user,
            screen=self._screen(options),
            decide=self._decide if _is_terminal(sys.stdin) and not options["json"] else None,
            configuration=_configuration(options["configuration"]),
            model=options["model"],
            use_functions=not options["no_functions"],
        )
        conversation_id = _conversation(user, options["conversation"])
        if question is None:
            Session(asking, self._note, lambda outcome: self._report(outcome, options), conversation_id).run()
            return
        outcome = asking.ask(question, conversation_id)
        if options["json"]:
            self.stdout.write(json.dumps(_body(outcome), indent=2, ensure_ascii=False) + "\n")
        self._report(outcome, options)
        self._conclude(outcome)

    def _whole(self, question: str | None) -> str | None:
        """The question with what came through a pipe below it."""
        piped = _piped(conf.max_message_chars)
        if question is not None and not question.strip():
            raise CommandError("The question is empty.", returncode=2)
        return "\n\n".join(part for part in (question, piped) if part) or None

    def _screen(self, options: dict[str, Any]) -> Screen:
        is_terminal = _is_terminal(self.stdout)
        if options["json"]:
            return Silent()
        if options["plain"] or not is_terminal or os.environ.get("TERM") == "dumb":
            return Plain(self.stdout, self._note, is_terminal=is_terminal)
        return Rendered(self.stdout, colour=not options["no_color"])

    def _decide(self, call: AIFunctionCall) -> bool | None:
        """Ask about a call: yes, no, or not now."""
        self._note(f"{one_line(call.name)} is to be called with\n{printable(call.arguments)}")
        try:
            answer = input("Agree? [y]es, [n]o, anything else: later ").strip().lower()
        except (EOFError, KeyboardInterrupt):
            return None
        return {"y": True, "yes": True, "n": False, "no": False}.get(answer)

    def _note(self, line: str) -> None:
        self.stderr.write(line, style_func=str)

    def _report(self, outcome: Outcome, options: dict[str, Any]) -> None:
        """What it took, beside the answer."""
        if outcome.failed is not None and not options["json"]:
            self.stderr.write(outcome.failed.message)
        finished = outcome.finished
        if finished is None:
            return
        if finished.reason in REASONS:
            self._note(REASONS[finished.reason])
        if outcome.waits:
            self._note(f"Turn {outcome.turn_id} waits until somebody who may has agreed to its calls.")
        if options["verbosity"] > 0:
            usage, cost = finished.usage, finished.cost
            paid = "cost unknown" if cost is None else f"{cost.normalize():f} USD" if cost else "0 USD"
            self._note(
                f"[{one_line(finished.model)}: {usage.prompt_tokens} + {usage.completion_tokens} tokens, "
                f"{paid}, {outcome.seconds:.1f} s, conversation {outcome.conversation_id}]"
            )

    def _conclude(self, outcome: Outcome) -> None:
        if outcome.failed is not None:
            raise SystemExit(1)
        if outcome.was_stopped:
            raise SystemExit(INTERRUPTED)
        if outcome.waits:
            raise SystemExit(WAITS)

    def _failure(self, code: str, said: str, options: dict[str, Any]) -> CommandError:
        if options["json"]:
            self.stdout.write(json.dumps({"error": {"code": code, "message": said}}, indent=2) + "\n")
        return CommandError(said)


def _piped(most: int) -> str:
    """What comes through a pipe or from a file, "" if standard input is neither. Raises CommandError."""
    stdin = sys.stdin
    if stdin is None or stdin.closed or stdin.isatty():
        return ""
    try:
        if stat.S_ISCHR(os.fstat(stdin.fileno()).st_mode):
            return ""
    except (OSError, ValueError):
        pass
    try:
        text = stdin.read(most + 1)
    except UnicodeDecodeError:
        raise CommandError("What came through the pipe is no text.", returncode=2) from None
    except OSError:
        return ""
    if len(text) > most:
        raise CommandError(
            f"What came through the pipe has more than {most} characters: OPENAI_MAX_MESSAGE_CHARS.",
            returncode=2,
        )
    return text.strip()


def _conversation(user: Any, named: str | None) -> UUID | None:
    if named is None:
        return None
    found = find_conversation(user, named)
    if found is None:
        raise CommandError(f"There is no conversation {named!r} of this user.")
    return found.pk


def _configuration(name: str | None) -> AIConfiguration | None:
    if name is None:
        return None
    found = AIConfiguration.active.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no active configuration {name!r}.")
    return found


def _in_full(error: AIServiceError) -> str:
    hint = (
        " manage.py chatgpt_doctor says what else is missing."
        if isinstance(error, NotConfiguredError)
        else ""
    )
    return f"{error}{hint}"


def _is_terminal(stream: Any) -> bool:
    return bool(stream is not None and stream.isatty())


def _body(outcome: Outcome) -> dict[str, Any]:
    finished, failed = outcome.finished, outcome.failed
    body: dict[str, Any] = {
        "conversation_id": _text(outcome.conversation_id),
        "turn_id": _text(outcome.turn_id),
        "content": outcome.text,
        "function_calls": [call.model_dump() for call in outcome.calls],
    }
    if finished is not None:
        body |= {
            "message_id": _text(finished.message_id),
            "model": finished.model,
            "finish_reason": finished.reason,
            "usage": finished.usage.model_dump(),
            "cost": None if finished.cost is None else f"{finished.cost:f}",
        }
    if failed is not None:
        body["error"] = {"code": failed.code, "message": failed.message}
    return body


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
