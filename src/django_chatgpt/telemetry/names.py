"""Every name that leaves in a span or a metric: the GenAI semantic conventions, which are not stable yet.

https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

SCOPE: Final = "django_chatgpt"

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
CONVERSATION_ID: Final = "gen_ai.conversation.id"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"
TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
ERROR_TYPE: Final = "error.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# Ours: what the conventions have no word for.
TURN_ID: Final = "django_chatgpt.turn.id"
ATTEMPT_ID: Final = "django_chatgpt.attempt.id"
TURN_STATUS: Final = "django_chatgpt.turn.status"
COST: Final = "django_chatgpt.cost"

INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"
FUNCTION: Final = "function"
#: kind of a ledger row -> operation
OPERATIONS: Final = MappingProxyType({"chat": "chat", "embedding": "embeddings", "moderation": "moderation"})

OPENAI: Final = "openai"
AZURE: Final = "azure.ai.openai"
AZURE_HOSTS: Final = (".openai.azure.com", ".services.ai.azure.com")

TOKEN_USAGE: Final = "gen_ai.client.token.usage"
OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
FIRST_CHUNK_DURATION: Final = "gen_ai.client.operation.time_to_first_chunk"

TOKEN_BOUNDARIES: Final = tuple(float(4**power) for power in range(14))
DURATION_BOUNDARIES: Final = tuple(0.01 * 2**power for power in range(14))
FIRST_CHUNK_BOUNDARIES: Final = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0
)  # fmt: skip
