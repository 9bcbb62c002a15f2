"""Real models on this machine, to talk to and for meaning: no key, no other server, only pip packages."""

from local_model.process import (
    LocalModel,
    LocalModelError,
    missing_packages,
    running_embedder,
    running_model,
)

__all__ = ["LocalModel", "LocalModelError", "missing_packages", "running_embedder", "running_model"]
