"""The questions that only the site can answer. `OPENAI_ADAPTER` names a subclass with other answers."""

from __future__ import annotations

from typing import Any

from django_chatgpt.conf import conf
from django_chatgpt.core.request import Endpoint


class Adapter:
    """The answers of a site that says nothing: signed-in active users, one key, one model.

    `user` is None where the site itself asks, in a command or a task. Methods are plain functions and may
    use the database; they are called in the thread that has it.
    """

    def may_use(self, user: Any) -> bool:
        """Whether this user may ask at all."""
        return user is None or (user.is_authenticated and user.is_active)

    def endpoint(self, user: Any) -> Endpoint:
        """Where the model is reached for this user, and with which key."""
        return Endpoint(
            api_key=conf.require_api_key().get_secret_value(),
            base_url=conf.base_url,
            organization=conf.organization,
            dialect=conf.api,
        )

    def system_prompt(self, user: Any, prompt: str) -> str:
        """The system prompt, given the one of the configuration ("" if there is none)."""
        return prompt


def get_adapter() -> Adapter:
    """The site's adapter, made anew: it keeps no state between questions."""
    adapter: Adapter = (conf.adapter or Adapter)()
    return adapter
