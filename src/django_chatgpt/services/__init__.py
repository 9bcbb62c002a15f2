"""What a site's own code calls."""

from django_chatgpt.services.ai import AIService
from django_chatgpt.services.types import AIResponse, ChatMessage, FunctionCall, TokenUsage

__all__ = ["AIResponse", "AIService", "ChatMessage", "FunctionCall", "TokenUsage"]
