"""Where texts are embedded: by the server that answers, unless EMBEDDING_BASE_URL names another."""

from dataclasses import replace
from typing import Any

from django.conf import settings

from django_chatgpt.adapter import Adapter
from django_chatgpt.core.request import Endpoint


class ExampleAdapter(Adapter):
    def embedding_endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        """A local chat model embeds poorly, if at all; the local model of meaning is a server of its own."""
        endpoint = super().embedding_endpoint(user, tenant)
        address = getattr(settings, "EMBEDDING_BASE_URL", None)
        return replace(endpoint, base_url=address, dialect="chat") if address else endpoint
