"""What is kept: one file a table."""

from django_chatgpt.models.alert import AIAlert
from django_chatgpt.models.budget import AIBudget
from django_chatgpt.models.call import AIFunctionCall
from django_chatgpt.models.claim import EmbeddingClaim
from django_chatgpt.models.configuration import AIConfiguration
from django_chatgpt.models.conversation import AIConversation
from django_chatgpt.models.embedding import EmbeddingVector
from django_chatgpt.models.embedding_scope import EmbeddingChange, EmbeddingScope
from django_chatgpt.models.event import AITurnEvent
from django_chatgpt.models.function import AIFunction
from django_chatgpt.models.function_job import AIFunctionJob
from django_chatgpt.models.index import IndexedObject, IndexedPassage
from django_chatgpt.models.job import EmbeddingJob, EmbeddingJobText
from django_chatgpt.models.message import AIMessage
from django_chatgpt.models.turn import AITurn
from django_chatgpt.models.usage import AIUsage

__all__ = [
    "AIAlert",
    "AIBudget",
    "AIConfiguration",
    "AIConversation",
    "AIFunction",
    "AIFunctionCall",
    "AIFunctionJob",
    "AIMessage",
    "AITurn",
    "AITurnEvent",
    "AIUsage",
    "EmbeddingChange",
    "EmbeddingClaim",
    "EmbeddingJob",
    "EmbeddingJobText",
    "EmbeddingScope",
    "EmbeddingVector",
    "IndexedObject",
    "IndexedPassage",
]
