"""The site's own code that the model may call: `@ai_function`, and what is done with it."""

from django_chatgpt.functions.caller import Caller
from django_chatgpt.functions.definition import Function
from django_chatgpt.functions.registry import FunctionRegistry, ai_function, function_registry

__all__ = ["Caller", "Function", "FunctionRegistry", "ai_function", "function_registry"]
