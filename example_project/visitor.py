"""A visitor of the example site over real HTTP: logs in, asks, reads the streamed answer."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import httpx2
from event_stream import read_events


class VisitError(Exception):
    """The site did not do what a visitor may expect; the message says what."""


@dataclass
class Call:
    """A function of the site that the model called; `status` is "" and `result` empty until it answers."""

    id: str
    name: str
    arguments: str
    requires_approval: bool = False
    result: str = ""
    status: str = ""


@dataclass
class Answer:
    """A streamed answer as it arrived. Times are seconds after the question was sent."""

    pieces: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    first_at: float = 0.0
    last_at: float = 0.0
    turn_id: str = ""
    conversation_id: str = ""
    finish: dict[str, Any] | None = None
    done: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)

    @property
    def waits(self) -> bool:
        """Whether the turn rests until a person has decided about a call."""
        return (self.finish or {}).get("reason") == "awaiting_approval"

    @property
    def usage(self) -> dict[str, int]:
        """Token counts by name; {} when the site gave none."""
        return (self.finish or {}).get("usage") or {}

    @property
    def cost(self) -> str | None:
        """US dollars as a decimal string; None when the price is unknown."""
        return (self.finish or {}).get("cost")


Shown = Callable[[str | Call], object]


class Visitor:
    """Somebody with a browser's cookies and CSRF token, without the browser."""

    def __init__(self, address: str, *, timeout: float = 120) -> None:
        self._http = httpx2.Client(base_url=address, timeout=timeout, follow_redirects=True, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._http.close()

    def log_in(self, username: str, password: str) -> None:
        """Log in through the login page's form, which also leads to the chat page."""
        self._http.get("/login/").raise_for_status()
        form = {"username": username, "password": password, "csrfmiddlewaretoken": self._csrf_token()}
        page = self._http.post("/login/", data=form)
        page.raise_for_status()
        if "sessionid" not in self._http.cookies:
            raise VisitError(f"The site did not let {username} in.")

    def ask(self, question: str, shown: Shown) -> Answer:
        """Ask through POST ai/chat/ and give `shown` each thing the moment it arrives.

        That is a piece of the answer as text, and a Call when it is made and again when it has its result.
        """
        answer = Answer()
        self._read("/ai/chat/", {"message": question, "stream": True}, answer, shown)
        return answer

    def decide(self, answer: Answer, call: Call, approve: bool, shown: Shown) -> None:
        """Approve or decline a call that waits; the rest of the turn goes into the same answer."""
        body = {"approve": approve, "call_id": call.id, "stream": True}
        call.requires_approval = False
        self._read(f"/ai/turns/{answer.turn_id}/approve/", body, answer, shown)

    def _read(self, path: str, asked: dict[str, Any], answer: Answer, shown: Shown) -> None:
        headers = {"X-CSRFToken": self._csrf_token(), "Accept": "text/event-stream"}
        with self._http.stream("POST", path, json=asked, headers=headers) as response:
            if not response.is_success:
                response.read()
                raise VisitError(f"The site refused the question ({response.status_code}): {response.text}")
            if not response.headers["Content-Type"].startswith("text/event-stream"):
                return  # another call of the turn waits still
            answer.done = False
            for event in read_events(response.iter_bytes()):
                match event["type"]:
                    case "start":
                        answer.turn_id = event["turn_id"]
                        answer.conversation_id = event["conversation_id"]
                    case "content":
                        answer.last_at = time.monotonic() - answer.began
                        answer.first_at = answer.first_at or answer.last_at
                        answer.pieces.append(event["content"])
                        shown(event["content"])
                    case "function_call":
                        waits = event.get("requires_approval", False)
                        call = Call(event["id"], event["name"], event["arguments"], waits)
                        answer.calls.append(call)
                        shown(call)
                    case "function_result":
                        call = next(each for each in answer.calls if each.id == event["id"])
                        call.result, call.status = event["result"], event["status"]
                        shown(call)
                    case "finish":
                        answer.finish = event
                    case "done":
                        answer.done = True
                    case "error":
                        raise VisitError(f"The answer broke off: {event['error']['message']}")

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        """What the site has stored of a conversation, messages included."""
        response = self._http.get(f"/ai/conversations/{conversation_id}/")
        response.raise_for_status()
        stored: dict[str, Any] = response.json()
        return stored

    def _csrf_token(self) -> str:
        return self._http.cookies.get("csrftoken") or ""
