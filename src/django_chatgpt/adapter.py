"""The questions that only the site can answer. `OPENAI_ADAPTER` names a subclass with other answers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from django_chatgpt.conf import Budget, conf
from django_chatgpt.core.request import Endpoint

if TYPE_CHECKING:
    from django_chatgpt.models import AIAlert


class Adapter:
    """The answers of a site that says nothing: signed-in active users, one key, one model.

    `user` is None where the site itself asks, in a command or a task. Methods are plain functions and may
    use the database; they are called in the thread that has it, once for each question that is asked.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        endpoint = vars(cls).get("endpoint")
        if inspect.isfunction(endpoint) and not _takes_tenant(endpoint):
            cls.endpoint = _without_tenant(endpoint)  # type: ignore[assignment,method-assign]

    def may_use(self, user: Any) -> bool:
        """Whether this user may ask at all."""
        return user is None or (user.is_authenticated and user.is_active)

    def tenant(self, user: Any) -> str:
        """The name of the customer whom this user asks for; "" where a site has one account for all.

        It is kept with the turn, so that whoever goes on with it uses the same account. At most 200
        characters; never a key.
        """
        return ""

    def endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        """Where the model is reached for this tenant, and with which key."""
        return Endpoint(
            api_key=conf.require_api_key().get_secret_value(),
            base_url=conf.base_url,
            organization=conf.organization,
            dialect=conf.api,
        )

    def embedding_endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        """Where texts are embedded, if the server that answers does not do it."""
        return self.endpoint(user, tenant)

    def allowed_models(self, user: Any) -> Sequence[str] | None:
        """The models that this user may ask, the one for questions that name none first; None: any."""
        return None

    def model_for(self, user: Any, wanted: str) -> str:
        """The model that answers a question for which `wanted` was chosen; it need not be an allowed one."""
        return wanted

    def budgets(self, user: Any) -> Sequence[Budget]:
        """The budgets that what this user asks is paid from."""
        return conf.budgets

    def system_prompt(self, user: Any, prompt: str) -> str:
        """The system prompt, given the one of the configuration ("" if there is none)."""
        return prompt

    def redact(self, text: str) -> str:
        """A text as the provider may read it: what a person or a function says, before it is sent.

        What is stored stays as it is. If this raises, nothing is sent.
        """
        return text

    @property
    def redactor(self) -> Callable[[str], str] | None:
        """`redact`, None where the site has left it as it is."""
        return None if type(self).redact is Adapter.redact else self.redact

    def alert_recipients(self, alert: AIAlert) -> Sequence[str]:
        """The e-mail addresses that an alert is sent to, once, as it is raised."""
        return ()


def get_adapter() -> Adapter:
    """The site's adapter, made anew: it keeps no state between questions."""
    adapter: Adapter = (conf.adapter or Adapter)()
    return adapter


def _takes_tenant(endpoint: Callable[..., Any]) -> bool:
    try:
        inspect.signature(endpoint).bind(None, None, "")
    except TypeError:
        return False
    return True


def _without_tenant(endpoint: Callable[[Any, Any], Endpoint]) -> Callable[[Any, Any, str], Endpoint]:
    """An `endpoint` of before there were tenants, as one that is told of them."""

    @wraps(endpoint)
    def told(self: Any, user: Any, tenant: str = "") -> Endpoint:
        return endpoint(self, user)

    return told
