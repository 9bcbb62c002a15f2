"""For tests without pytest: a TestCase whose site talks to a fake OpenAI."""

from typing import TYPE_CHECKING

from django_chatgpt.testing.fake import FakeOpenAI
from django_chatgpt.testing.guard import refuse_stray_requests
from django_chatgpt.testing.memory import forget

if TYPE_CHECKING:
    from unittest import TestCase as _Base
else:
    _Base = object


class FakeOpenAIMixin(_Base):
    """Goes before any TestCase of Django or unittest, also an async one or one with a live server.

        class ChatTests(FakeOpenAIMixin, TestCase):
            def test_greeting(self):
                self.openai.reply("Hello!")
                ...
                self.openai.assert_asked(question="Hi", times=1)

    `openai` is a fake with nothing scripted in each test; OPENAI_BASE_URL and OPENAI_API_KEY point at it, and
    requests to the real world raise StrayRequest. What broke in the fake fails the test.
    """

    openai: FakeOpenAI

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.openai = cls.enterClassContext(FakeOpenAI())
        cls.enterClassContext(cls.openai.settings())
        cls.enterClassContext(refuse_stray_requests())

    def setUp(self) -> None:
        super().setUp()
        self.openai.reset()
        forget()
        self.addCleanup(self._end_of_test)

    def _end_of_test(self) -> None:
        try:
            self.openai.raise_errors()
        finally:
            self.openai.reset()
