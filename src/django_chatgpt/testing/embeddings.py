"""Embeddings: unit vectors made from the words of a text, so that like texts lie near each other."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django_chatgpt.testing import tokens
from django_chatgpt.testing.errors import Refusal, invalid, missing, wrong_type, wrong_value
from django_chatgpt.testing.steps import Failure

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
MAX_INPUTS = 2048
MAX_TOKENS = 8192
MAX_TOKENS_PER_REQUEST = 300_000

_WORD = re.compile(r"\w+")
_INVALID = (
    "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference."
)


def embed(text: str, dimensions: int) -> "NDArray[np.float32]":
    """A unit vector: the sum of one pseudo-random direction a word, and a little of the whole text's."""
    import numpy as np

    vector = 0.1 * _direction(text)
    for word in _WORD.findall(text.lower()):
        vector += _direction(word)
    vector = vector[:dimensions]
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@lru_cache(maxsize=4096)
def _direction(text: str) -> "NDArray[np.float64]":
    """Numbers between -1 and 1 from the SHAKE-256 of a text, as many as the largest model has dimensions."""
    import numpy as np

    size = max(DIMENSIONS.values())
    digest = hashlib.shake_256(text.encode("utf-8", "surrogatepass")).digest(2 * size)
    direction = np.frombuffer(digest, "<i2") / 32768.0
    direction.flags.writeable = False
    return direction


def answer(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """The embeddings of a request; Refusal for what OpenAI would not take."""
    texts, counts = _inputs(body.get("input"), "input" in body)
    dimensions = _dimensions(body.get("dimensions"), model)
    encoding = body.get("encoding_format") or "float"
    if encoding not in ("float", "base64"):
        raise wrong_value("encoding_format", encoding, ["float", "base64"])
    data = []
    for index, text in enumerate(texts):
        vector = embed(text, dimensions)
        packed = base64.b64encode(vector.astype("<f4").tobytes()).decode()
        value = vector.tolist() if encoding == "float" else packed
        data.append({"object": "embedding", "index": index, "embedding": value})
    usage = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def _inputs(value: object, given: bool) -> tuple[list[str], list[int]]:
    """The texts and their tokens; arrays of token numbers are taken as texts of their own."""
    if not given:
        raise missing("input")
    inputs = value if isinstance(value, list) and not _is_tokens(value) else [value]
    if len(inputs) > MAX_INPUTS:
        raise invalid(
            f"Invalid 'input': array too long. Expected an array with maximum length {MAX_INPUTS}, but "
            f"got an array with length {len(inputs)} instead.",
            "input",
            "array_above_max_length",
        )
    texts: list[str] = []
    counts: list[int] = []
    for item in inputs:
        if not ((isinstance(item, str) and item) or _is_tokens(item)):
            raise invalid(_INVALID)
        texts.append(item if isinstance(item, str) else repr(item))
        counts.append(_count(item))
        if counts[-1] > MAX_TOKENS:
            raise _too_long(counts[-1])
    if not texts:
        raise invalid(_INVALID)
    if sum(counts) > MAX_TOKENS_PER_REQUEST:
        raise Refusal(
            Failure(
                400,
                message=f"Requested {sum(counts)} tokens, max {MAX_TOKENS_PER_REQUEST} tokens per request",
                type="max_tokens_per_request",
                code="max_tokens_per_request",
            )
        )
    return texts, counts


def _count(item: object) -> int:
    return len(item) if isinstance(item, list) else tokens.count(str(item))


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _too_long(count: int) -> Refusal:
    return invalid(
        f"This model's maximum context length is {MAX_TOKENS} tokens, however you requested {count} tokens "
        f"({count} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
    )


def _dimensions(value: object, model: str) -> int:
    largest = DIMENSIONS.get(model, DIMENSIONS["text-embedding-3-small"])
    if value is None:
        return largest
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type("dimensions", "an integer", value)
    if "-3-" not in model:
        raise invalid("This model does not support specifying dimensions.", "dimensions")
    if not 1 <= value <= largest:
        bound = f"less than or equal to {largest}" if value > largest else "greater than or equal to 1"
        raise invalid(f"Invalid value for 'dimensions' = {value}. Must be {bound}.", "dimensions")
    return value
