"""A real language model on this machine: no key, no other server, no download beyond two pip packages."""

from local_model.process import LocalModel, LocalModelError, missing_packages, running_model

__all__ = ["LocalModel", "LocalModelError", "missing_packages", "running_model"]
