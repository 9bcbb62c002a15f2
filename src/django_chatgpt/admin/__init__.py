"""The admin's pages: one file for each table."""

from django_chatgpt.admin.alert import AIAlertAdmin
from django_chatgpt.admin.budget import AIBudgetAdmin
from django_chatgpt.admin.call import AIFunctionCallAdmin
from django_chatgpt.admin.configuration import AIConfigurationAdmin
from django_chatgpt.admin.conversation import AIConversationAdmin
from django_chatgpt.admin.embedding import EmbeddingChangeAdmin, EmbeddingScopeAdmin, EmbeddingVectorAdmin
from django_chatgpt.admin.event import AITurnEventAdmin
from django_chatgpt.admin.function import AIFunctionAdmin
from django_chatgpt.admin.function_job import AIFunctionJobAdmin
from django_chatgpt.admin.index import IndexedObjectAdmin, IndexedPassageAdmin
from django_chatgpt.admin.job import EmbeddingJobAdmin, EmbeddingJobTextAdmin
from django_chatgpt.admin.message import AIMessageAdmin
from django_chatgpt.admin.turn import AITurnAdmin
from django_chatgpt.admin.usage import AIUsageAdmin

__all__ = [
    "AIAlertAdmin",
    "AIBudgetAdmin",
    "AIConfigurationAdmin",
    "AIConversationAdmin",
    "AIFunctionAdmin",
    "AIFunctionCallAdmin",
    "AIFunctionJobAdmin",
    "AIMessageAdmin",
    "AITurnAdmin",
    "AITurnEventAdmin",
    "AIUsageAdmin",
    "EmbeddingChangeAdmin",
    "EmbeddingJobAdmin",
    "EmbeddingJobTextAdmin",
    "EmbeddingScopeAdmin",
    "EmbeddingVectorAdmin",
    "IndexedObjectAdmin",
    "IndexedPassageAdmin",
]
