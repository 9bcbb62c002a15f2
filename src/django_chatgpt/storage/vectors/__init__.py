"""Where stored vectors are searched: one interface, and the backends behind it."""

from django_chatgpt.storage.vectors.backend import Hit, Scope, VectorBackend, get_backend

__all__ = ["Hit", "Scope", "VectorBackend", "get_backend"]
