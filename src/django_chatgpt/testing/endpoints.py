"""The paths of the API: from an HTTP request to what is recorded, checked and delivered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jiter

from django_chatgpt.testing import embeddings, moderations, parameters, tokens
from django_chatgpt.testing.batches import Batches
from django_chatgpt.testing.chat import ChatRendering
from django_chatgpt.testing.delivery import Delivery
from django_chatgpt.testing.errors import Refusal, invalid
from django_chatgpt.testing.frames import new_id
from django_chatgpt.testing.http import HttpRequest, Reply
from django_chatgpt.testing.items import check_input
from django_chatgpt.testing.messages import check_messages
from django_chatgpt.testing.recorder import Endpoint, Recorder, Request, digest
from django_chatgpt.testing.responses import ResponsesRendering
from django_chatgpt.testing.script import Script, echo
from django_chatgpt.testing.steps import Answer, Failure, Usage

_PATHS: dict[str, Endpoint] = {
    "/chat/completions": "chat",
    "/responses": "responses",
    "/embeddings": "embeddings",
    "/moderations": "moderations",
    "/models": "models",
    "/files": "files",
    "/batches": "batches",
}
_BELOW: tuple[Endpoint, ...] = ("models", "files", "batches")
_SECRET = ("authorization", "api-key", "cookie")
MODELS = (
    "gpt-6-astra",
    "gpt-6.1-sol",
    "gpt-6-sol",
    "gpt-6-luna",
    "gpt-5.6-sol",
    "gpt-5.6-luna",
    "gpt-5.4-mini",
    "gpt-4o-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "omni-moderation-latest",
)


@dataclass(slots=True)
class Api:
    """The API of one fake.

    `api_key`: the only one taken, None takes any. `models`: the only ones there are, None knows any.
    `strict`: refuse what OpenAI refuses. `delay`: seconds before each piece of an answer that does not say.
    `flags`: words that moderation flags, with their categories. `batches`: files and batches. `errors`: what
    went wrong in the fake itself or in a responder.
    """

    script: Script = field(default_factory=Script)
    recorder: Recorder = field(default_factory=Recorder)
    api_key: str | None = None
    models: Sequence[str] | None = None
    strict: bool = True
    delay: float = 0.0
    flags: dict[str, frozenset[str]] = field(default_factory=dict)
    batches: Batches = field(default_factory=Batches)
    errors: list[Exception] = field(default_factory=list)

    async def handle(self, http: HttpRequest, reply: Reply) -> None:
        """Answer one request, whatever it is."""
        path = http.path.removeprefix("/v1").rstrip("/") or "/"
        below = (name for name in _BELOW if path.startswith(f"/{name}/"))
        endpoint = _PATHS.get(path) or next(below, "unknown")
        headers = {name: value for name, value in http.headers.items() if name not in _SECRET}
        key = http.headers.get("authorization", "").removeprefix("Bearer ").strip()
        request = self.recorder.add(
            method=http.method,
            path=http.path,
            endpoint=endpoint,
            headers=headers,
            body=_object(http.body) or {},
            id=new_id("req_"),
            connection=http.connection,
            key_digest=digest(key),
        )
        reply.on_status = partial(setattr, request, "status")
        reply.on_end = partial(self.recorder.finish, request)
        try:
            await self._answer(request, http, key, reply)
        except Refusal as refusal:
            Delivery(reply, request).failure(refusal.failure)
        except Exception as error:
            self.errors.append(error)
            if request.status is None:
                Delivery(reply, request).failure(Failure(500, message=f"the fake failed: {error!r}"))
        finally:
            if request.finished is None:
                self.recorder.finish(request, disconnected=reply.client_gone)

    async def _answer(self, request: Request, http: HttpRequest, key: str, reply: Reply) -> None:
        self._check_key(key)
        if request.endpoint == "unknown":
            raise invalid(f"Invalid URL ({http.method} {http.path})", status=404)
        if request.endpoint in ("files", "batches"):
            await self._batch(request, http, reply)
            return
        if http.method != ("GET" if request.endpoint == "models" else "POST"):
            message = f"Not allowed to {http.method} on {http.path}."
            raise invalid(message, None, "method_not_supported", 405)
        if request.endpoint == "models":
            self._models(request, reply)
            return
        if _object(http.body) is None:
            raise invalid(
                "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
                "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent "
                "was not valid JSON.)"
            )
        if request.endpoint in ("chat", "responses"):
            await self._generate(request, reply)
        else:
            await self._compute(request, reply)

    async def _generate(self, request: Request, reply: Reply) -> None:
        body = request.body
        is_chat = request.endpoint == "chat"
        if self.strict:
            model = parameters.check_model(body, self.models)
            if is_chat:
                parameters.check_chat(body, model)
                check_messages(body.get("messages"))
            else:
                parameters.check_responses(body, model)
                check_input(body.get("input"), body.get("store") is not False)
        prompt = tokens.count_prompt(request.texts, max(len(request.messages), 1))

        def render(answer: Answer) -> ChatRendering | ResponsesRendering:
            return (ChatRendering if is_chat else ResponsesRendering)(request, answer, prompt)

        step = await self.script.step(request) or echo(request)
        await Delivery(reply, request, delay=self.delay, prompt=prompt).step(step, render)

    async def _compute(self, request: Request, reply: Reply) -> None:
        delivery = Delivery(reply, request)
        step = await self.script.step(request)
        if step is not None:
            await delivery.step(step)
        elif request.endpoint == "embeddings":
            answer = embeddings.answer(request.body, parameters.check_model(request.body, self.models))
            request.billed = Usage(answer["usage"]["prompt_tokens"], 0)
            delivery.json(200, answer)
        else:
            delivery.json(200, moderations.answer(request.body, self.flags))

    async def _batch(self, request: Request, http: HttpRequest, reply: Reply) -> None:
        delivery = Delivery(reply, request)
        step = await self.script.step(request)
        _, *names = http.path.removeprefix("/v1").strip("/").split("/")
        if step is not None:
            await delivery.step(step)
            return
        match (request.endpoint, http.method, names):
            case ("files", "POST", []):
                content_type = http.headers.get("content-type", "")
                delivery.json(200, self.batches.upload(content_type, http.body))
            case ("files", "GET", [name, "content"]):
                content = self.batches.content(name)
                reply.whole(200, {"content-type": "application/octet-stream"}, content)
            case ("batches", "POST", []):
                delivery.json(200, self.batches.create(request.body))
            case ("batches", "GET", []):
                delivery.json(200, self.batches.listing())
            case ("batches", "GET", [name]):
                batch = self.batches.poll(name)
                request.billed = Usage(batch.tokens, 0) if batch.tokens else None
                batch.tokens = 0
                delivery.json(200, batch.body())
            case ("batches", "POST", [name, "cancel"]):
                delivery.json(200, self.batches.cancel(name))
            case _:
                message = f"Not allowed to {http.method} on {http.path}."
                raise invalid(message, None, "method_not_supported", 405)

    def _models(self, request: Request, reply: Reply) -> None:
        names = MODELS if self.models is None else self.models
        delivery = Delivery(reply, request)
        wanted = request.path.partition("/models/")[2]
        if not wanted:
            delivery.json(200, {"object": "list", "data": [_model(name) for name in names]})
        elif wanted in names:
            delivery.json(200, _model(wanted))
        else:
            raise invalid(f"The model '{wanted}' does not exist", "model", "model_not_found", 404)

    def _check_key(self, key: str) -> None:
        if not key:
            raise invalid(
                "You didn't provide an API key. You need to provide your API key in an Authorization header "
                "using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                status=401,
            )
        if self.api_key is not None and key != self.api_key:
            masked = "*" * (len(key) - 4) + key[-4:] if len(key) > 8 else "*" * len(key)
            message = (
                f"Incorrect API key provided: {masked}. You can find your API key at "
                "https://platform.openai.com/account/api-keys."
            )
            raise invalid(message, None, "invalid_api_key", 401)


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": 1686935002, "owned_by": "openai"}


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = jiter.from_json(body)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
