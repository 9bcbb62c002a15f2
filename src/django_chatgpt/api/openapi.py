"""What OpenAPI can't be told by types: a route that answers in two ways, and how."""

from __future__ import annotations

from typing import Any, Literal

from django_chatgpt.api.schemas import (
    ApproveIn,
    ChatIn,
    ChatOut,
    EmbeddingsIn,
    EmbeddingsOut,
    ErrorOut,
    SearchIn,
    SearchOut,
    TurnOut,
)


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _inline(model: Any, mode: Literal["validation", "serialization"] = "serialization") -> dict[str, Any]:
    """A schema that refers to nothing outside itself."""
    schema: dict[str, Any] = model.model_json_schema(mode=mode)
    definitions = schema.pop("$defs", {})
    resolved: dict[str, Any] = _resolve(schema, definitions)
    return resolved


def _resolve(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _resolve(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
        return {name: _resolve(value, definitions) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_resolve(value, definitions) for value in schema]
    return schema


_ERROR = _inline(ErrorOut)

#: One event of a stream: before OpenAPI 3.2 the schema of a stream is that of each of its events.
_EVENTS: dict[str, Any] = {
    "schema": {
        "type": "object",
        "required": ["id", "data"],
        "properties": {
            "id": {"type": "string", "pattern": "^[0-9]+$"},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {
                    "type": "object",
                    "required": ["type", "turn_id"],
                    "properties": {
                        "type": {
                            "type": "string",
                            "description": (
                                "start, content, function_call, function_result, finish, error, done"
                            ),
                        },
                        "turn_id": {"type": "string", "format": "uuid"},
                    },
                },
            },
        },
    }
}

_RENDER = {
    "in": "query",
    "name": "render",
    "required": False,
    "schema": {"type": "string", "enum": ["html"]},
    "description": (
        "Events carry the answer as safe HTML, too: `html: {from, blocks}`, the blocks from that number on."
    ),
}

CHAT: dict[str, Any] = {
    "parameters": [
        _RENDER,
        {
            "in": "header",
            "name": "Idempotency-Key",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 200},
            "description": "A repeat of the same request with the same key returns the first turn.",
        },
    ],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _inline(ChatIn, "validation")}},
    },
    "responses": {
        200: {
            "description": "The reply; with `stream`, its events.",
            "content": {
                "application/json": {"schema": _inline(ChatOut)},
                "text/event-stream": _EVENTS,
            },
        },
        400: _json("Bad input; every field is named.", _ERROR),
        401: _json("Nobody is signed in.", _ERROR),
        403: _json("This user may not, or the CSRF token is missing.", _ERROR),
        404: _json("There is no such conversation or configuration.", _ERROR),
        409: _json("The conversation is busy with a turn, which is named.", _ERROR),
        413: _json("The question does not fit.", _ERROR),
        422: _json("The text was refused.", _ERROR),
        429: _json("Too many questions, or the budget is used up; see Retry-After.", _ERROR),
        500: _json("The site failed.", _ERROR),
        502: _json("The model's provider failed.", _ERROR),
        503: _json("The model's provider can't be reached.", _ERROR),
        504: _json("The model's provider did not answer in time.", _ERROR),
    },
}

_NUMBER = {"type": "integer", "minimum": 0}

EVENTS: dict[str, Any] = {
    "parameters": [
        _RENDER,
        *(
            {
                "in": where,
                "name": name,
                "required": False,
                "schema": _NUMBER,
                "description": "The number of the last event that you have. The header goes first.",
            }
            for where, name in (("header", "Last-Event-ID"), ("query", "after"))
        ),
    ],
    "responses": {
        200: {
            "description": "The events, as POST chat/ streams them.",
            "content": {"text/event-stream": _EVENTS},
        },
        204: {"description": "The turn is over, and you have all of it."},
        400: _json("Bad input; every field is named.", _ERROR),
        401: _json("Nobody is signed in.", _ERROR),
        404: _json("You have no such turn.", _ERROR),
    },
}

APPROVE: dict[str, Any] = {
    "parameters": [_RENDER],
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _inline(ApproveIn, mode="validation")}},
    },
    "responses": {
        200: {
            "description": "The turn; with `stream`, the events of the rest of it.",
            "content": {
                "application/json": {"schema": _inline(TurnOut)},
                "text/event-stream": _EVENTS,
            },
        },
        400: _json("Bad input; every field is named.", _ERROR),
        401: _json("Nobody is signed in.", _ERROR),
        403: _json("This user may not decide, or the CSRF token is missing.", _ERROR),
        404: _json("There is no such turn.", _ERROR),
        409: _json("The call is decided already, or the time is over.", _ERROR),
        503: _json("The model's provider can't be reached.", _ERROR),
    },
}


def _embedding(taken: Any, given: Any, description: str) -> dict[str, Any]:
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _inline(taken, mode="validation")}},
        },
        "responses": {
            200: _json(description, _inline(given)),
            400: _json("Bad input; every field is named.", _ERROR),
            401: _json("Nobody is signed in.", _ERROR),
            403: _json("This user may not, or the CSRF token is missing.", _ERROR),
            413: _json("The text is too long for the model.", _ERROR),
            429: _json("Too much in a short time; see Retry-After.", _ERROR),
            502: _json("The model's provider refused or sent nonsense.", _ERROR),
            503: _json("The model's provider can't be reached.", _ERROR),
            504: _json("The model's provider did not answer in time.", _ERROR),
        },
    }


EMBEDDINGS = _embedding(EmbeddingsIn, EmbeddingsOut, "The stored texts, and which could not be embedded.")
SEARCH = _embedding(SearchIn, SearchOut, "The nearest of your own texts.")

USAGE: dict[str, Any] = {
    "responses": {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
}
