"""What the doors take: through each the same fields, the same rules, the same words for a mistake."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    model_validator,
)

from django_chatgpt.exceptions import AIServiceError, InvalidRequestError
from django_chatgpt.services.chat import Ask, is_text
from django_chatgpt.services.functions import as_text

NO_OBJECT = "must be a JSON object."
MAX_FIELD_NAME = 100
MAX_MISTAKES = 20
TOO_MANY_MISTAKES = f"has more than {MAX_MISTAKES} mistakes."
MAX_KEY_LENGTH = 200

Body = TypeVar("Body", bound=BaseModel)


def _storable(text: str) -> str:
    """Refuse what JSON can hold and a database can't."""
    if not is_text(text):
        raise ValueError("must be text; it has a NUL or half a character")
    return text


def _writable(arguments: dict[str, Any]) -> dict[str, Any]:
    """Refuse what JSON can bring and can't be written as JSON again."""
    try:
        as_text(arguments)
    except InvalidRequestError as error:
        raise ValueError(error.fields["arguments"].removesuffix(".")) from None
    return arguments


Text = Annotated[str, AfterValidator(_storable)]
Arguments = Annotated[dict[str, Any], AfterValidator(_writable)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)


class UserMessage(Strict):
    """A message from a client: history comes from the database, so it can only be the user's."""

    role: Literal["user"]
    content: Text


class ChatIn(Strict):
    """A question. `message`, or `messages` whose role is user; one of the two."""

    message: Text | None = None
    messages: list[UserMessage] | None = Field(None, min_length=1, max_length=100)
    conversation_id: UUID | None = None
    configuration_id: UUID | None = None
    model: Text | None = Field(None, min_length=1, max_length=200)
    temperature: float | None = Field(None, ge=0, le=2, strict=True)
    max_tokens: int | None = Field(None, ge=1, le=10_000_000, strict=True)
    use_functions: StrictBool = True
    stream: StrictBool = False

    @model_validator(mode="after")
    def one_of_two(self) -> ChatIn:
        if (self.message is None) == (self.messages is None):
            raise ValueError("message: give either message or messages")
        return self

    @property
    def text(self) -> str:
        if self.message is not None:
            return self.message
        return "\n\n".join(message.content for message in self.messages or ())


def asked(user: Any, data: ChatIn, idempotency_key: str | None = None) -> Ask:
    """The question of a user as the services take it."""
    return Ask(
        user=user,
        text=data.text,
        conversation_id=data.conversation_id,
        configuration_id=data.configuration_id,
        model=data.model,
        temperature=data.temperature,
        max_tokens=data.max_tokens,
        use_functions=data.use_functions,
        idempotency_key=idempotency_key,
    )


class ConversationIn(Strict):
    title: Text = Field("", max_length=200)
    configuration_id: UUID | None = None


class ExecuteIn(Strict):
    function_name: Text = Field(min_length=1, max_length=150)
    arguments: Arguments = Field(default_factory=dict)


def is_key(text: str) -> bool:
    """Whether a text may be an idempotency key."""
    return 0 < len(text) <= MAX_KEY_LENGTH and text.isascii() and text.isprintable()


BAD_KEY = f"must be 1 to {MAX_KEY_LENGTH} printable ASCII characters."


def parse(model: type[Body], data: bytes | str, whole: str = "body") -> Body:
    """A JSON object as a `model`. Raises InvalidRequestError, which names every field.

    `whole` is what the object itself is called. A large one takes its time.
    """
    return validated(model, parse_json(data, whole), whole)


def parse_json(data: bytes | str, whole: str = "body") -> Any:
    """What JSON text says. Raises InvalidRequestError naming `whole`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidRequestError(fields={whole: NO_OBJECT}) from None


def validated(model: type[Body], data: Any, whole: str = "body") -> Body:
    """What JSON has said as a `model`. Raises InvalidRequestError, which names every field."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        if error.error_count() > MAX_MISTAKES:
            raise InvalidRequestError(fields={whole: TOO_MANY_MISTAKES}) from None
        raise from_validation(
            ({**found, "loc": ("body", *found["loc"])} for found in error.errors(**PLAIN)), whole
        ) from None
    except (ValueError, RecursionError):
        raise InvalidRequestError(fields={whole: NO_OBJECT}) from None


PLAIN: Any = {"include_url": False, "include_input": False}


def from_validation(problems: Iterable[Mapping[str, Any]], whole: str = "body") -> AIServiceError:
    """What pydantic found wrong, one entry per field; a part of the path that is no id names nothing.

    More than MAX_MISTAKES are not told one by one.

    Each location is where the field is ("body", "query", "path") and its path there.
    """
    fields: dict[str, str] = {}
    for found, problem in enumerate(problems, start=1):
        if found > MAX_MISTAKES:
            return InvalidRequestError(fields={whole: TOO_MANY_MISTAKES})
        where, *path = problem["loc"]
        if where == "path":
            return AIServiceError("There is no such object.", code="not_found")
        name = ".".join(str(part) for part in path)
        text = str(problem["msg"])
        if problem["type"] == "value_error":
            text = text.removeprefix("Value error, ")
            if not name:
                # Ours, of a rule about several fields; it names the field itself.
                name, _, text = text.partition(": ")
        # The name may be the client's.
        name = name[:MAX_FIELD_NAME].encode(errors="replace").decode()
        fields[name or whole] = f"{text}."
    return InvalidRequestError(fields=fields)
