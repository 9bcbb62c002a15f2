"""The fake OpenAI: a real HTTP server on loopback that says what a test tells it to."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from django_chatgpt.testing import moderations, parameters
from django_chatgpt.testing.batches import Plan
from django_chatgpt.testing.endpoints import Api
from django_chatgpt.testing.recorder import Endpoint, Request
from django_chatgpt.testing.script import GENERATING, Responder, Rule, Unscripted
from django_chatgpt.testing.server import HOST, LoopbackServer
from django_chatgpt.testing.steps import Answer, Failure, Step, Usage

if TYPE_CHECKING:
    from typing import Self

    from django.test.utils import override_settings

KEY: Final = "sk-fake-0000000000000000"


class FakeOpenAI:
    """A server that speaks OpenAI's wire protocol, for tests.

        with FakeOpenAI() as fake, fake.settings():
            fake.reply("Hello there")
            ...
            fake.assert_asked(contains="Hi", times=1)

    `port`: 0 takes any. `api_key`: the only key taken, None takes any that is not empty. `models`: the only
    models there are, None knows any. `strict`: refuse every request that OpenAI would refuse; False is as
    lenient as the compatible servers. `delay`: seconds before each piece of an answer that does not say.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        models: Sequence[str] | None = None,
        strict: bool = True,
        delay: float = 0.0,
    ) -> None:
        self._api = Api(api_key=api_key, models=models, strict=strict, delay=delay)
        self._server = LoopbackServer(self._api.handle, port)

    # running

    def start(self) -> "Self":
        for dialect in GENERATING:
            parameters.known(dialect)
        self._server.start()
        return self

    def stop(self) -> None:
        self._server.stop()

    def __enter__(self) -> "Self":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None:
            self.raise_errors()
            return
        for broken in self._api.errors:
            error.add_note(f"the fake OpenAI met {broken!r}")

    @property
    def url(self) -> str:
        """Like http://127.0.0.1:4711."""
        return f"http://{HOST}:{self._server.port}"

    @property
    def base_url(self) -> str:
        """Like http://127.0.0.1:4711/v1, for OPENAI_BASE_URL."""
        return f"{self.url}/v1"

    @property
    def api_key(self) -> str:
        """A key that it takes."""
        return self._api.api_key or KEY

    def settings(self, **more: Any) -> "override_settings":
        """Django's override_settings that points the site here; more settings by keyword."""
        from django.test.utils import override_settings

        return override_settings(OPENAI_BASE_URL=self.base_url, OPENAI_API_KEY=self.api_key, **more)

    def reset(self) -> None:
        """Forget script and records, and drop the requests still being answered; idle connections stay."""
        self._api.script.clear()
        self._api.flags.clear()
        self._api.batches.clear()
        self._server.drop_busy()
        self._api.recorder.clear()
        self._api.errors.clear()

    # scripting

    def reply(self, text: str = "", **fields: Any) -> Answer:
        """Queue one answer; keywords are the fields of `Answer`."""
        answer = Answer(text, **fields)
        self.script(answer)
        return answer

    def script(self, *steps: Step | str) -> None:
        """Queue steps for the next chat and Responses requests, one each; a string is an answer's text."""
        self._api.script.queue(*steps)

    def when(
        self,
        *,
        contains: str | None = None,
        question: str | None = None,
        model: str | None = None,
        endpoint: Endpoint | None = None,
        where: Callable[[Request], bool] | None = None,
    ) -> Rule:
        """A rule for the requests that fit all that is given; it goes before the queue.

        `contains`: anywhere in the texts of the request, so also in every later turn of the conversation;
        `question`: in the last message of the user; `endpoint`: "chat", "responses", "embeddings",
        "moderations", "files", "batches"; None is the first two.
        """

        def fits(request: Request) -> bool:
            return (
                (request.endpoint == endpoint if endpoint else request.endpoint in GENERATING)
                and (contains is None or any(contains in text for text in request.texts))
                and (question is None or question in request.question)
                and (model is None or model == request.model)
                and (where is None or where(request))
            )

        return self._api.script.add(Rule(fits))

    def respond_with(self, responder: Responder | None) -> None:
        """Ask a callable, plain or async, for each step once the queue is empty; it runs on the server's
        loop.
        """
        self._api.script.respond_with(responder)

    def require_script(self) -> None:
        """Have a question for which nothing is scripted fail the test, until the next reset.

        The site is told 400; `raise_errors`, which the fixture and the mixin call, raises Unscripted.
        """

        def refuse(request: Request) -> Step:
            unscripted = Unscripted(request)
            self._api.errors.append(unscripted)
            return Failure(400, message="nothing is scripted for this request")

        self.respond_with(refuse)

    def flag(self, word: str, *categories: str) -> None:
        """Let moderation flag texts with this word, any case; ValueError for a category that there is not."""
        if strange := set(categories) - set(moderations.CATEGORIES):
            raise ValueError(f"no moderation category {', '.join(sorted(strange))}")
        self._api.flags[word] = frozenset(categories or ("violence",))

    def plan_batch(self, **fields: Any) -> None:
        """Say what becomes of the next batch; keywords are the fields of `testing.batches.Plan`."""
        self._api.batches.plans.append(Plan(**fields))

    # looking

    @property
    def requests(self) -> list[Request]:
        """Every request since the start or the last reset, in order of arrival."""
        return self._api.recorder.requests

    @property
    def calls(self) -> list[Request]:
        """The requests that asked a model to speak: chat and Responses."""
        return [request for request in self.requests if request.endpoint in GENERATING]

    @property
    def open_connections(self) -> int:
        """How many TCP connections are open now, idle ones included."""
        return self._server.open_connections

    @property
    def tokens_billed(self) -> Usage:
        """What an account would be charged for by now, broken and abandoned streams included."""
        return _total(request.billed for request in self.requests)

    @property
    def unused(self) -> list[Step]:
        """Steps that were scripted and not asked for."""
        return self._api.script.unused

    @property
    def errors(self) -> list[Exception]:
        """What a responder raised, or what broke in the fake; the client saw a 500."""
        return list(self._api.errors)

    def raise_errors(self) -> None:
        """Raise what a responder raised."""
        if errors := self.errors:
            raise errors[0]

    def wait_for(
        self, count: int = 1, *, finished: bool = False, disconnected: bool = False, within: float = 5.0
    ) -> list[Request]:
        """Block until so many requests have come, are over, or were abandoned by their client.

        Not in a running event loop that the client needs: there `await_for`. AssertionError after `within`
        seconds.
        """

        def done(requests: list[Request]) -> list[Request] | None:
            found = [
                request
                for request in requests
                if (request.finished is not None or not (finished or disconnected))
                and (request.disconnected or not disconnected)
            ]
            return found if len(found) >= count else None

        return self._api.recorder.wait(done, within)

    async def await_for(
        self, count: int = 1, *, finished: bool = False, disconnected: bool = False, within: float = 5.0
    ) -> list[Request]:
        """`wait_for` that leaves the event loop running."""
        return await asyncio.to_thread(
            self.wait_for, count, finished=finished, disconnected=disconnected, within=within
        )

    def assert_asked(
        self,
        *,
        contains: str | None = None,
        question: str | None = None,
        model: str | None = None,
        offers: str | None = None,
        endpoint: Endpoint | None = None,
        times: int | None = None,
    ) -> list[Request]:
        """The requests that fit; AssertionError, showing all, when there are none or not exactly `times`.

        `contains`: anywhere in the texts of the request, results of functions included; `question`: in the
        last message of the user; `offers`: the name of a function that the model may call.
        """
        found = [
            request
            for request in self.requests
            if (request.endpoint == endpoint if endpoint else request.endpoint in GENERATING)
            and (model is None or request.model == model)
            and (contains is None or any(contains in text for text in request.texts))
            and (question is None or question in request.question)
            and (offers is None or offers in request.tools)
        ]
        if not found if times is None else len(found) != times:
            wanted = "at least once" if times is None else f"{times} times"
            asked = ", ".join(
                f"{name}={value!r}"
                for name, value in (
                    ("contains", contains),
                    ("question", question),
                    ("model", model),
                    ("offers", offers),
                    ("endpoint", endpoint),
                )
                if value is not None
            )
            listing = self._api.recorder.listing(whole=True)
            raise AssertionError(f"expected to be asked {wanted} ({asked}), but was {len(found)}:\n{listing}")
        return found

    def assert_nothing_asked(self) -> None:
        """AssertionError, listing them, when any request came."""
        if self.requests:
            raise AssertionError(f"expected no request, but there were:\n{self._api.recorder.listing()}")

    def assert_script_used(self) -> None:
        """AssertionError when a scripted step was not asked for."""
        if unused := self.unused:
            raise AssertionError(f"{len(unused)} steps were not asked for, the first is {unused[0]!r}")


def _total(usages: Iterable[Usage | None]) -> Usage:
    return reduce(Usage.__add__, (usage for usage in usages if usage is not None), Usage(0, 0))
