"""What a site's own code calls."""

from django_chatgpt.services.ai import AIService
from django_chatgpt.services.batches import EmbeddingBatch, FailedText
from django_chatgpt.services.embeddings import EmbeddingService, SearchResult
from django_chatgpt.services.indexes import IndexService, Passage
from django_chatgpt.services.jobs import EmbeddingJobs
from django_chatgpt.services.sources import search_function
from django_chatgpt.services.types import AIResponse, ChatMessage, FunctionCall, Source, TokenUsage

__all__ = [
    "AIResponse",
    "AIService",
    "ChatMessage",
    "EmbeddingBatch",
    "EmbeddingJobs",
    "EmbeddingService",
    "FailedText",
    "FunctionCall",
    "IndexService",
    "Passage",
    "SearchResult",
    "Source",
    "TokenUsage",
    "search_function",
]
