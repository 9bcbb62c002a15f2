"""What the site's adapter says of a user holds for every question, and for the rest of a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from pytest_django import Settings

from django_chatgpt.adapter import Adapter, get_adapter
from django_chatgpt.conf import conf
from django_chatgpt.core.request import Endpoint
from django_chatgpt.exceptions import InvalidRequestError, NotConfiguredError, PermissionDeniedError
from django_chatgpt.functions import ai_function, function_registry
from django_chatgpt.models import AIConfiguration, AIFunctionCall, AIMessage, AITurn
from django_chatgpt.providers import clients
from django_chatgpt.services import AIService, access, approvals, chat
from django_chatgpt.services.results import fold
from django_chatgpt.testing import Answer, Call, Failure, FakeOpenAI

if TYPE_CHECKING:
    from tests.services.conftest import Async, Sync

    Colour = Sync | Async

pytestmark = pytest.mark.django_db

HERE = f"{__name__}."


class Tenants(Adapter):
    """Users belong to the customer that their first name says; each has a key."""

    def tenant(self, user: Any) -> str:
        return "" if user is None else str(user.first_name)

    def endpoint(self, user: Any, tenant: str = "") -> Endpoint:
        return Endpoint(f"sk-of-{tenant or 'nobody'}", conf.base_url, f"org-{tenant}", conf.api)


class OfBefore(Adapter):
    """Written when there were no tenants."""

    def endpoint(self, user: Any) -> Endpoint:  # type: ignore[override]
        found = super().endpoint(user)
        return Endpoint("sk-old", found.base_url, None, found.dialect)


class TwoModels(Adapter):
    def allowed_models(self, user: Any) -> Sequence[str] | None:
        return ["gpt-6-small", "gpt-6-tiny"]


class NoModels(Adapter):
    def allowed_models(self, user: Any) -> Sequence[str] | None:
        return []


class Cheaper(Adapter):
    def model_for(self, user: Any, wanted: str) -> str:
        return f"{wanted}-mini"


class Secretive(Adapter):
    def redact(self, text: str) -> str:
        return text.replace("4711", "[number]")


class Clumsy(Adapter):
    """Cannot read what functions return."""

    def redact(self, text: str) -> str:
        if "4711" in text:
            raise ValueError(text)
        return text


class Nameless(Adapter):
    def tenant(self, user: Any) -> Any:
        return 7


@pytest.fixture
def ada_and_bob(user: User, other_user: User) -> tuple[User, User]:
    """Two users of different customers."""
    for each, name in ((user, "acme"), (other_user, "globex")):
        each.first_name = name
        each.save()
    return user, other_user


@pytest.fixture
def lookup() -> Iterator[None]:
    """A function that tells a secret."""

    @ai_function(name="lookup")
    def lookup() -> str:
        """Look it up."""
        return "The number is 4711."

    yield
    function_registry.unregister("lookup")


@pytest.fixture
def pay() -> Iterator[None]:
    @ai_function(name="pay", requires_approval=True)
    def pay() -> str:
        """Pay."""
        return "paid"

    yield
    function_registry.unregister("pay")


KEYS = ["sk-of-acme", "sk-of-globex", "sk-of-nobody", "sk-old"]


def keys_of(fake: FakeOpenAI) -> list[str]:
    """The key that each call was made with."""
    return [key for call in fake.calls for key in KEYS if call.carried(key)]


def said(fake: FakeOpenAI) -> list[str]:
    """Everything that was ever sent."""
    return [text for call in fake.calls for text in call.texts]


class TestTenants:
    @pytest.fixture(autouse=True)
    def tenants(self, settings: Settings, ada_and_bob: tuple[User, User]) -> None:
        settings.OPENAI_ADAPTER = HERE + "Tenants"

    def test_each_asks_with_its_own_key(
        self, colour: Colour, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI
    ) -> None:
        ada, bob = ada_and_bob
        for asker in (ada, bob, ada, None, bob):
            fake_openai.reply("Hi")
            colour.ask(AIService(asker), "Hello")
        named = ["acme", "globex", "acme", "nobody", "globex"]
        assert keys_of(fake_openai) == [f"sk-of-{name}" for name in named]
        organizations = [call.headers["openai-organization"] for call in fake_openai.calls]
        assert organizations == ["org-acme", "org-globex", "org-acme", "org-", "org-globex"]

    def test_completions_too(
        self, colour: Colour, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI
    ) -> None:
        for asker in ada_and_bob:
            fake_openai.reply("Hi")
            colour.complete(AIService(asker), [{"role": "user", "content": "Hello"}])
        assert keys_of(fake_openai) == ["sk-of-acme", "sk-of-globex"]

    def test_side_by_side(self, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI) -> None:
        """Many questions of both at once, on the same connections."""
        fake_openai.respond_with(lambda request: Answer("Hi", delay=0.01))

        async def ask() -> None:
            asked = [AIService(each).aask(f"I am {each.first_name}") for each in ada_and_bob * 10]
            await asyncio.gather(*asked)

        async_to_sync(ask)()
        assert len(fake_openai.calls) == 20
        for call in fake_openai.calls:
            assert call.carried(f"sk-of-{call.question.removeprefix('I am ')}")

    def test_a_client_for_each_account(self, ada_and_bob: tuple[User, User]) -> None:
        """And the same again for the same account."""
        first, second = (clients.sync_client(access.account_of(each).endpoint) for each in ada_and_bob)
        assert first is not second
        assert (first.api_key, second.api_key) == ("sk-of-acme", "sk-of-globex")
        assert clients.sync_client(access.account_of(ada_and_bob[0]).endpoint) is first

    def test_the_turn_keeps_the_tenant_and_never_the_key(
        self, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI
    ) -> None:
        fake_openai.reply("Hi")
        AIService(ada_and_bob[0]).ask("Hello")
        turn = AITurn.objects.get()
        assert turn.options["tenant"] == "acme"
        assert {"base_url", "dialect", "model"} <= turn.options.keys()
        assert "sk-of-acme" not in str(AITurn.objects.values().get())

    def test_the_rest_of_a_turn_goes_to_the_same_account(
        self, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI, pay: None
    ) -> None:
        """Whatever has become of the user since, and whoever decides."""
        ada, _ = ada_and_bob
        fake_openai.reply(calls=[Call("pay", {})])
        first = AIService(ada).ask("Pay")
        assert first.finish_reason == "awaiting_approval"
        ada.first_name = "globex"
        ada.save()
        fake_openai.reply("Paid.")
        prepared = approvals.decide(ada, first.turn_id, approvals.Decision(True))
        assert isinstance(prepared, chat.Prepared)
        assert fold(chat.run(prepared)).content == "Paid."
        assert keys_of(fake_openai) == ["sk-of-acme", "sk-of-acme"]

    def test_neither_sees_what_is_the_others(
        self, ada_and_bob: tuple[User, User], fake_openai: FakeOpenAI
    ) -> None:
        ada, bob = ada_and_bob
        fake_openai.reply("Hi")
        first = AIService(ada).ask("My secret")
        fake_openai.reply("Hi")
        AIService(bob).ask("Hello")
        assert fake_openai.calls[1].texts == ["Hello"]
        with pytest.raises(Exception, match="you have no conversation"):
            AIService(bob).ask("And?", first.conversation_id)


def test_a_site_without_tenants_keeps_none(user: User, fake_openai: FakeOpenAI) -> None:
    fake_openai.reply("Hi")
    AIService(user).ask("Hello")
    assert "tenant" not in AITurn.objects.get().options


def test_a_tenant_has_to_be_a_name(user: User, settings: Settings) -> None:
    settings.OPENAI_ADAPTER = HERE + "Nameless"
    with pytest.raises(NotConfiguredError, match="tenant"):
        AIService(user).ask("Hello")
    assert not AITurn.objects.exists()


def test_an_adapter_of_before_is_still_asked(user: User, settings: Settings, fake_openai: FakeOpenAI) -> None:
    settings.OPENAI_ADAPTER = HERE + "OfBefore"
    fake_openai.reply("Hi")
    AIService(user).ask("Hello")
    assert keys_of(fake_openai) == ["sk-old"]
    assert get_adapter().endpoint(user, "acme").api_key == "sk-old"
    assert get_adapter().endpoint(user).api_key == "sk-old"


class TestModels:
    @pytest.fixture(autouse=True)
    def two(self, settings: Settings) -> None:
        settings.OPENAI_ADAPTER = HERE + "TwoModels"

    def test_another_is_refused_by_name(self, user: User, fake_openai: FakeOpenAI) -> None:
        with pytest.raises(InvalidRequestError) as refused:
            AIService(user).ask("Hello", model="gpt-6-sol")
        assert refused.value.fields == {"model": "must be one of gpt-6-small, gpt-6-tiny."}
        with pytest.raises(InvalidRequestError, match="must be one of"):
            AIService(user).chat_completion([{"role": "user", "content": "Hi"}], model="gpt-6-sol")
        fake_openai.assert_nothing_asked()
        assert not AITurn.objects.exists()

    def test_so_is_a_configuration_that_names_another(self, user: User) -> None:
        large = AIConfiguration.objects.create(name="large", model="gpt-6-sol")
        with pytest.raises(InvalidRequestError) as refused:
            AIService(user, large).ask("Hello")
        assert list(refused.value.fields) == ["configuration_id"]

    def test_one_of_them_is_asked(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("Hi")
        AIService(user).ask("Hello", model="gpt-6-tiny")
        assert fake_openai.calls[0].model == "gpt-6-tiny"

    def test_without_a_wish_it_is_the_first(self, user: User, fake_openai: FakeOpenAI) -> None:
        fake_openai.reply("Hi")
        AIService(user).ask("Hello")
        assert fake_openai.calls[0].model == "gpt-6-small"

    def test_no_other_model_steps_in(self, user: User, settings: Settings, fake_openai: FakeOpenAI) -> None:
        """But for those of OPENAI_FALLBACK_MODELS that the user may ask."""
        settings.OPENAI_FALLBACK_MODELS = ["gpt-6-sol", "gpt-6-tiny"]
        settings.OPENAI_MAX_RETRIES = 0
        fake_openai.script(Failure(503))
        fake_openai.reply("Hi")
        AIService(user).ask("Hello")
        fake_openai.script(Failure(503))
        fake_openai.reply("Hi")
        AIService(user).chat_completion([{"role": "user", "content": "Hi"}])
        assert [call.model for call in fake_openai.calls] == ["gpt-6-small", "gpt-6-tiny"] * 2

    def test_none_at_all(self, user: User, settings: Settings) -> None:
        settings.OPENAI_ADAPTER = HERE + "NoModels"
        with pytest.raises(PermissionDeniedError):
            AIService(user).ask("Hello")

    def test_those_of_a_list_that_are_allowed(self, user: User, settings: Settings) -> None:
        assert access.allowed_of(user, ["gpt-6-sol", "gpt-6-tiny"]) == ["gpt-6-tiny"]
        settings.OPENAI_ADAPTER = None
        assert access.allowed_of(user, ["gpt-6-sol", "gpt-6-tiny"]) == ["gpt-6-sol", "gpt-6-tiny"]


@pytest.mark.parametrize("model", ["a\nBcc: x", "a\x1b[31m", "a\x0bb", "gpt-\u202e6", "\ufffe"])
def test_a_model_is_called_by_what_can_be_printed(model: str, user: User, fake_openai: FakeOpenAI) -> None:
    """Its name goes into the ledger, and from there to a terminal, a picture, the subject of a mail."""
    with pytest.raises(InvalidRequestError) as refused:
        AIService(user).ask("Hi", model=model)
    assert set(refused.value.fields) == {"model"}
    with pytest.raises(InvalidRequestError):
        access.choose_embedding_model(user, model)
    fake_openai.assert_nothing_asked()
    assert not AITurn.objects.exists()


def test_the_adapter_has_the_last_word_about_the_model(
    user: User, settings: Settings, fake_openai: FakeOpenAI, pay: None
) -> None:
    """It is asked once: a turn that rests goes on with the model that was chosen."""
    settings.OPENAI_ADAPTER = HERE + "Cheaper"
    fake_openai.reply(calls=[Call("pay", {})])
    first = AIService(user).ask("Pay", model="gpt-6-sol", idempotency_key="k")
    assert AITurn.objects.get().options["model"] == "gpt-6-sol-mini"
    fake_openai.reply("Paid.")
    prepared = approvals.decide(user, first.turn_id, approvals.Decision(True))
    assert isinstance(prepared, chat.Prepared)
    fold(chat.run(prepared))
    assert [call.model for call in fake_openai.calls] == ["gpt-6-sol-mini"] * 2


class TestRedaction:
    def test_nothing_that_is_said_leaves_as_it_is(
        self,
        colour: Colour,
        dialect: str,
        user: User,
        settings: Settings,
        fake_openai: FakeOpenAI,
        lookup: None,
    ) -> None:
        settings.OPENAI_ADAPTER = HERE + "Secretive"
        fake_openai.reply("I see.")
        first = colour.ask(AIService(user), "It is 4711.")
        fake_openai.reply(calls=[Call("lookup", {})])
        fake_openai.reply("Done.")
        colour.ask(AIService(user), "Look up 4711 again.", first.conversation_id)
        assert len(fake_openai.calls) == 3
        assert not any("4711" in text for text in said(fake_openai))
        assert "The number is [number]." in fake_openai.calls[2].texts
        stored = [line.content for line in AIMessage.objects.order_by("sequence")]
        assert [text for text in stored if "4711" in text] == [
            "It is 4711.",
            "Look up 4711 again.",
            "The number is 4711.",
        ]

    def test_completions_too(self, user: User, settings: Settings, fake_openai: FakeOpenAI) -> None:
        settings.OPENAI_ADAPTER = HERE + "Secretive"
        fake_openai.reply("I see.")
        messages = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "It is 4711."},
            {"role": "assistant", "content": "Yes."},
            {"role": "user", "content": "And 4711"},
        ]
        AIService(user).chat_completion(messages)
        assert said(fake_openai) == ["Be kind.", "It is [number].", "Yes.", "And [number]"]

    def test_what_can_not_be_redacted_is_not_shown(
        self,
        colour: Colour,
        user: User,
        settings: Settings,
        fake_openai: FakeOpenAI,
        lookup: None,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        settings.OPENAI_ADAPTER = HERE + "Clumsy"
        fake_openai.reply(calls=[Call("lookup", {})])
        fake_openai.reply("Done.")
        colour.ask(AIService(user), "Look it up.")
        assert fake_openai.calls[1].texts[-1] == "The result can't be shown."
        assert not any("4711" in text for text in said(fake_openai))
        assert "ValueError" in caplog.text
        assert "4711" not in caplog.text
        assert AIFunctionCall.objects.get().status == "completed"

    def test_a_question_that_can_not_be_redacted_is_not_sent(
        self, user: User, settings: Settings, fake_openai: FakeOpenAI
    ) -> None:
        settings.OPENAI_ADAPTER = HERE + "Clumsy"
        fake_openai.respond_with(lambda request: Answer("never"))
        with pytest.raises(ValueError, match="4711"):
            AIService(user).ask("It is 4711.")
        fake_openai.assert_nothing_asked()
        assert not AITurn.objects.exists()
