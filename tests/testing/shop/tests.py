"""What a user of the testing kit relies on, beside what the page of the documentation shows."""

import httpx2
import pytest
from django.test import AsyncClient, LiveServerTestCase, TransactionTestCase

from django_chatgpt.exceptions import AIServiceError
from django_chatgpt.services import AIService
from django_chatgpt.testing import Failure, FakeOpenAIMixin, StrayRequest


@pytest.mark.django_db
def test_a_failure_shows_what_was_asked(client, fake_openai):
    client.get("/ask/", {"q": "Do you have lamps?"})
    with pytest.raises(AssertionError) as caught:
        fake_openai.assert_asked(question="chairs", offers="stock", times=1)
    said = str(caught.value)
    assert "expected to be asked 1 times (question='chairs', offers='stock'), but was 0" in said
    assert "user: Do you have lamps?" in said
    assert "functions: stock" in said


@pytest.mark.django_db
def test_what_is_not_scripted_can_be_refused(fake_openai):
    fake_openai.require_script()
    with pytest.raises(AIServiceError):
        AIService().ask("Who?")
    with pytest.raises(AssertionError, match=r'fake_openai.reply\("..."\)'):
        fake_openai.raise_errors()
    fake_openai.reset()


@pytest.mark.django_db
@pytest.mark.parametrize("again", range(3))
def test_a_model_that_failed_is_asked_again_in_the_next_test(again, fake_openai):
    fake_openai.script(*[Failure(503)] * 5)
    for _ in range(5):
        with pytest.raises(AIServiceError):
            AIService().ask("Hi")
    assert len(fake_openai.calls) == 5


@pytest.mark.django_db
def test_without_the_fixture_nobody_is_asked():
    with pytest.raises(StrayRequest, match=r'fake_openai.reply\("Hello!"\)'):
        AIService().ask("Hi")


class Live(FakeOpenAIMixin, LiveServerTestCase):
    def test_a_browser(self):
        self.openai.reply("Yes.")
        assert httpx2.get(f"{self.live_server_url}/ask/?q=Lamps").text == "Yes."


class Async(FakeOpenAIMixin, TransactionTestCase):
    async def test_async(self):
        self.openai.reply("Yes.")
        answer = await AsyncClient().get("/aask/", {"q": "Lamps"})
        assert answer.content == b"Yes."
        self.openai.assert_asked(question="Lamps", times=1)

    def test_nothing_is_left(self):
        self.openai.assert_nothing_asked()
