"""The wire: the only room that imports the SDK. What crosses its threshold are the core's own types.

The SDK's ChatCompletion and ChatCompletionChunk are the one exception, for callers who ask for them.
"""

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from django_chatgpt.providers.completions import (
    AsyncCompletionChunks,
    CompletionChunks,
    acreate_completion,
    astream_completion,
    create_completion,
    stream_completion,
)
from django_chatgpt.providers.embeddings import acreate_embeddings, create_embeddings
from django_chatgpt.providers.moderation import amoderate, moderate
from django_chatgpt.providers.streams import AsyncStream, SyncStream, aopen_stream, open_stream

__all__ = [
    "AsyncCompletionChunks",
    "AsyncStream",
    "ChatCompletion",
    "ChatCompletionChunk",
    "CompletionChunks",
    "SyncStream",
    "acreate_completion",
    "acreate_embeddings",
    "amoderate",
    "aopen_stream",
    "astream_completion",
    "create_completion",
    "create_embeddings",
    "moderate",
    "open_stream",
    "stream_completion",
]
