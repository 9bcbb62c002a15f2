"""A chat in the terminal: questions, answers, and the words that begin with a slash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.management.terminal.text import one_line
from django_chatgpt.management.terminal.turns import Asking, Outcome, stop_running
from django_chatgpt.models import AIConversation, AIMessage
from django_chatgpt.services import access

PROMPT = "> "
MORE = "... "
LISTED = 10
REMEMBERED = 50

HELP = """/new            begin a new conversation
/list           your last conversations
/open N         go on with one of them: its number in the list, or its id
/model [NAME]   ask another model; without a name, say which
/functions      let the model call functions, or no longer
/stop           stop what still runs or waits in this conversation
/quit           leave; so does Ctrl-D
Ctrl-C stops an answer. A line that ends with \\ goes on in the next. // begins a question with a slash."""


class Session:
    """Reads lines until there are no more. `note` writes beside it, `report` says what an answer took."""

    def __init__(
        self,
        asking: Asking,
        note: Callable[[str], None],
        report: Callable[[Outcome], None],
        conversation_id: UUID | None = None,
    ) -> None:
        self.asking = asking
        self.note = note
        self.report = report
        self.conversation_id = conversation_id
        self._listed: list[UUID] = []
        self._verbs: dict[str, Callable[[str], None]] = {
            "/help": lambda rest: self.note(HELP),
            "/new": self._new,
            "/list": self._list,
            "/open": self._open,
            "/model": self._model,
            "/functions": self._functions,
            "/stop": self._stop,
        }

    def run(self) -> None:
        """Chat until the end of input, /quit, or Ctrl-C twice."""
        self._prepare_lines()
        self.note("Ask, or type /help.")
        if self.conversation_id is not None:
            self._open(str(self.conversation_id))
        interrupted = False
        while True:
            try:
                line = self._read()
            except EOFError:
                self.note("")
                return
            except KeyboardInterrupt:
                if interrupted:
                    return
                interrupted = True
                self.note("\nCtrl-C again, or /quit, leaves.")
                continue
            interrupted = False
            if line.strip() in ("/quit", "/exit", "/q"):
                return
            if line.strip():
                self._take(line.strip())

    def _take(self, line: str) -> None:
        try:
            if line.startswith("/") and not line.startswith("//"):
                self._command(*line.partition(" ")[::2])
            else:
                self._ask(line.removeprefix("/") if line.startswith("//") else line)
        except AIServiceError as error:
            self.note(str(error))

    def _ask(self, question: str) -> None:
        outcome = self.asking.ask(question, self.conversation_id)
        self.conversation_id = outcome.conversation_id
        self.report(outcome)

    def _command(self, verb: str, rest: str) -> None:
        known = self._verbs.get(verb)
        if known is None:
            near = get_close_matches(verb, [*self._verbs, "/quit"], n=1)
            self.note(
                f"There is no {one_line(verb)}. " + (f"Did you mean {near[0]}?" if near else "Type /help.")
            )
            return
        known(rest.strip())

    def _new(self, rest: str) -> None:
        self.conversation_id = None
        self.note("A new conversation.")

    def _list(self, rest: str) -> None:
        rows = list(conversations(self.asking.user)[:LISTED])
        self._listed = [row.pk for row in rows]
        for number, row in enumerate(rows, 1):
            here = "*" if row.pk == self.conversation_id else " "
            self.note(f"{here}{number:>3}  {one_line(row.title, 60) or '(no title)'}  {row.pk}")
        if not rows:
            self.note("There is none yet.")

    def _open(self, rest: str) -> None:
        found = find_conversation(self.asking.user, self._numbered(rest))
        if found is None:
            self.note("There is no such conversation: type /list.")
            return
        self.conversation_id = found.pk
        said = found.messages.filter(role=AIMessage.Role.USER).order_by("-sequence")
        questions = list(said.values_list("content", flat=True)[:REMEMBERED])[::-1]
        self._remember(questions)
        self.note(f"Going on with {one_line(found.title, 60) or found.pk}.")

    def _numbered(self, given: str) -> str:
        if given.isdigit() and 0 < int(given) <= len(self._listed):
            return str(self._listed[int(given) - 1])
        return given

    def _model(self, rest: str) -> None:
        model = access.choose_model(self.asking.user, rest or self.asking.model, self.asking.configuration)
        if rest:
            self.asking.model = rest
        self.note(f"Questions go to {one_line(model)}.")

    def _functions(self, rest: str) -> None:
        self.asking.use_functions = not self.asking.use_functions
        self.note(f"The model {'may' if self.asking.use_functions else 'may not'} call functions.")

    def _stop(self, rest: str) -> None:
        number = 0 if self.conversation_id is None else stop_running(self.asking.user, self.conversation_id)
        self.note("Stopped." if number else "Nothing runs here.")

    def _read(self) -> str:
        line = input(PROMPT)
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{input(MORE)}"
        return line

    def _prepare_lines(self) -> None:
        """Editing, the questions asked before by the arrow keys, and the words by the tabulator.

        Nothing of it is written to a file.
        """
        with contextlib.suppress(ImportError):
            readline = import_module("readline")
            words = [*self._verbs, "/quit"]

            def complete(text: str, state: int) -> str | None:
                fitting = [word for word in words if word.startswith(text)] if text.startswith("/") else []
                return fitting[state] if state < len(fitting) else None

            readline.set_completer_delims(" ")
            readline.set_completer(complete)
            readline.parse_and_bind("tab: complete")

    def _remember(self, questions: list[str]) -> None:
        with contextlib.suppress(ImportError):
            readline = import_module("readline")
            for question in questions:
                if "\n" not in question:
                    readline.add_history(question)


def conversations(user: Any) -> QuerySet[AIConversation]:
    """The conversations of this user, of the site itself if None; the last one first."""
    return AIConversation.objects.filter(user=user).order_by("-updated_at", "-pk")


def find_conversation(user: Any, named: str) -> AIConversation | None:
    """The user's own conversation with that id, or the last one."""
    if named == "last":
        return conversations(user).first()
    try:
        return conversations(user).filter(pk=UUID(named)).first()
    except ValueError:
        return None
