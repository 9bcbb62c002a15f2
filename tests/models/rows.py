"""Rows for tests: each with just enough in it to be stored."""

from typing import Any

from django_chatgpt.core.vectors import pack_vector
from django_chatgpt.models import AIConversation, AIMessage, AITurn, AIUsage, EmbeddingVector


def conversation(**fields: Any) -> AIConversation:
    return AIConversation.objects.create(**fields)


def turn(of: AIConversation, **fields: Any) -> AITurn:
    return AITurn.objects.create(conversation=of, **fields)


def message(of: AIConversation, sequence: int = 1, **fields: Any) -> AIMessage:
    return AIMessage.objects.create(
        conversation=of, sequence=sequence, **{"role": AIMessage.Role.USER, "content": "Hello", **fields}
    )


def usage(**fields: Any) -> AIUsage:
    return AIUsage.objects.create(**{"model": "gpt-6-luna", **fields})


def embedding(**fields: Any) -> EmbeddingVector:
    row = unsaved_embedding(**fields)
    row.save()
    return row


def unsaved_embedding(**fields: Any) -> EmbeddingVector:
    return EmbeddingVector(
        **{
            "content": "Hello",
            "model": "text-embedding-3-small",
            "vector": pack_vector([1.0, 2.0, 2.0]),
            **fields,
        }
    )
