"""The example's functions, tested as those of any site: called, executed, and called by a fake model.

Run by `python manage.py test example`.
"""

# ruff: noqa: PT009, PT027 - these are Django's own tests, run without pytest

from typing import Any

from django.contrib.auth.models import User
from django.test import TestCase

from django_chatgpt.exceptions import InvalidRequestError, PermissionDeniedError, ToolFailedError
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionCall
from django_chatgpt.testing import Answer, Call, FakeOpenAI
from example.ai_functions import MOST_BOOKS, WEATHER, get_weather, search_database
from example.models import Book, HelpArticle, Postcard


def found(query: str) -> list[str]:
    """The titles that a model is told of."""
    result = function_registry.execute_function("search_database", {"query": query}, user=None)
    return [book["title"] for book in result["books"]]


class PageTests(TestCase):
    def setUp(self) -> None:
        self.client.force_login(User.objects.create_user("ada", password="ada-secret"))

    def test_the_library_has_the_widget(self) -> None:
        page = self.client.get("/")
        self.assertContains(page, "Gardens by the Sea")
        self.assertContains(page, "<django-chatgpt>")
        self.assertContains(page, 'data-place-chat="/ai/chat/"')

    def test_a_help_page_can_be_read_if_it_is_public(self) -> None:
        public = HelpArticle.objects.filter(public=True)[0]
        self.assertContains(self.client.get(public.get_absolute_url()), public.title)
        hidden = HelpArticle.objects.filter(public=False)[0]
        with self.assertLogs("django.request"):
            self.assertEqual(self.client.get(hidden.get_absolute_url()).status_code, 404)

    def test_strangers_log_in_first(self) -> None:
        self.client.logout()
        for path in ("/", "/help/1/", "/ai/"):
            self.assertRedirects(self.client.get(path), f"/login/?next={path}")


class WeatherTests(TestCase):
    def test_a_known_city_has_its_weather_which_is_said_to_be_made_up(self) -> None:
        for city in WEATHER:
            self.assertEqual(get_weather(f" {city.upper()} ")["sky"], WEATHER[city][0])
        self.assertIn("made up", get_weather("Paris")["source"])

    def test_for_another_city_the_model_is_told_which_there_are(self) -> None:
        with self.assertRaisesMessage(ToolFailedError, "Paris"):
            get_weather("Atlantis")

    def test_a_city_is_a_short_text(self) -> None:
        for city in ("", "x" * 41, 'a"b', 7, None):
            with self.subTest(city=city), self.assertRaises(InvalidRequestError):
                function_registry.execute_function("get_weather", {"city": city}, user=None)


class SearchTests(TestCase):
    def test_the_best_match_comes_first(self) -> None:
        self.assertEqual(found("SEA gardens")[0], "Gardens by the Sea")
        self.assertEqual(found("veit"), ["Night Trains", "The Cartographer's Daughter"])

    def test_what_is_not_there_is_not_found(self) -> None:
        self.assertEqual(found("volcanoes"), [])

    def test_a_query_is_words_and_nothing_else(self) -> None:
        for query in ("%%%", "___", "' OR 1=1 --", "title__icontains", "{x}"):
            with self.subTest(query=query):
                self.assertEqual(found(query), [])

    def test_it_is_bounded(self) -> None:
        Book.objects.bulk_create(
            Book(title=f"Snails {number}", author="Nobody", year=2000, summary="") for number in range(20)
        )
        with self.assertNumQueries(2):
            result = search_database("snails xxx yyy zzz www snails")
            self.assertEqual((result["found"], len(result["books"])), (20, MOST_BOOKS))
        with self.assertRaises(InvalidRequestError):
            found("x" * 81)
        with self.assertRaises(ToolFailedError):
            found("a b")


class PostcardTests(TestCase):
    def setUp(self) -> None:
        self.user = User.objects.create_user("ada", password="ada-secret")
        self.client.force_login(self.user)
        self.fake = self.enterContext(FakeOpenAI())
        self.enterContext(self.fake.settings())

    def ask(self) -> dict[str, Any]:
        arguments = {"recipient": "Grace", "greeting": "Wish you were here"}
        self.fake.script(Answer(calls=[Call("send_postcard", arguments)]), Answer("Done."))
        asked = {"message": "Send Grace a postcard"}
        reply: dict[str, Any] = self.client.post("/ai/chat/", asked, content_type="application/json").json()
        return reply

    def decide(self, reply: dict[str, Any], approve: bool) -> int:
        path = f"/ai/turns/{reply['turn_id']}/approve/"
        return self.client.post(path, {"approve": approve}, content_type="application/json").status_code

    def test_it_is_sent_once_somebody_has_agreed(self) -> None:
        reply = self.ask()
        self.assertEqual(reply["finish_reason"], "awaiting_approval")
        self.assertFalse(Postcard.objects.exists())
        self.assertEqual(self.decide(reply, True), 200)
        card = Postcard.objects.get()
        self.assertEqual((card.sender, card.recipient), (self.user, "Grace"))
        self.assertEqual(AIFunctionCall.objects.get().status, "completed")
        with self.assertLogs("django.request"):
            self.assertEqual(self.decide(reply, True), 409)
        self.assertEqual(Postcard.objects.count(), 1)

    def test_it_is_not_sent_if_nobody_has(self) -> None:
        self.assertEqual(self.decide(self.ask(), False), 200)
        self.assertFalse(Postcard.objects.exists())

    def test_it_can_not_be_sent_past_the_approval(self) -> None:
        arguments = {"recipient": "Grace", "greeting": "Hello"}
        for user in (self.user, None):
            with self.assertRaises(PermissionDeniedError):
                function_registry.execute_function("send_postcard", arguments, user=user)
