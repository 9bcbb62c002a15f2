"""The chat page; everything it shows comes from django-chatgpt's HTTP API."""

from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.views.generic import TemplateView

from django_chatgpt.conf import conf


class ChatView(LoginRequiredMixin, TemplateView):
    """One page for a logged-in user: a question, its streamed answer, what it took."""

    template_name = "example/chat.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The name of the model that answers, beside the usual context."""
        return super().get_context_data(model=conf.default_model, **kwargs)
