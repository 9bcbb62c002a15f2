"""The fake under a Django site."""

from django.conf import settings
from django.test import SimpleTestCase

from django_chatgpt.testing import FakeOpenAI


def test_settings_point_at_it_for_a_while(fake: FakeOpenAI) -> None:
    before = settings.OPENAI_BASE_URL
    with fake.settings(OPENAI_API="responses"):
        assert fake.base_url == settings.OPENAI_BASE_URL
        assert fake.api_key == settings.OPENAI_API_KEY
        assert settings.OPENAI_API == "responses"
    assert before == settings.OPENAI_BASE_URL


def test_the_fixture_points_settings_at_it(fake_openai: FakeOpenAI) -> None:
    assert fake_openai.base_url == settings.OPENAI_BASE_URL
    fake_openai.assert_nothing_asked()


class WholeClassCase(SimpleTestCase):
    fake: FakeOpenAI

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.fake = cls.enterClassContext(FakeOpenAI(api_key="sk-the-only-one"))
        cls.enterClassContext(cls.fake.settings())

    def test_settings_point_at_it(self) -> None:
        assert self.fake.base_url == settings.OPENAI_BASE_URL
        assert settings.OPENAI_API_KEY == "sk-the-only-one"
