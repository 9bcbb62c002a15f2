"""Texts cut into passages, at the ends of paragraphs and sentences wherever they are short enough."""

from __future__ import annotations

from functools import partial

from django_chatgpt.indexes import Index
from django_chatgpt.services import tokens


def cut(text: str, index: Index, model: str) -> list[str]:
    """The passages of a text, none if it is empty; what is counted is tokens of `model`."""
    if not text.strip():
        return []
    # A token is a byte at least, so most texts need not be counted to be known as short enough.
    if len(text.encode()) <= index.chunk_tokens:
        return [text.strip()]
    from semantic_text_splitter import TextSplitter

    size = partial(tokens.count_text, model=model)
    return list(TextSplitter.from_callback(size, index.chunk_tokens, overlap=index.overlap).chunks(text))
