"""The site's own models as texts that are found by meaning; `ai_indexes.py` of any app registers them."""

from django_chatgpt.indexes.definition import Index
from django_chatgpt.indexes.registry import IndexRegistry, index_registry, register_index

__all__ = ["Index", "IndexRegistry", "index_registry", "register_index"]
