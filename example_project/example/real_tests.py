"""The help desk answers, with real models: which passages are given is certain, what is said is not.

Run by `python manage.py test example.real_tests`, with OPENAI_BASE_URL and EMBEDDING_BASE_URL set.
"""

# ruff: noqa: PT009 - these are Django's own tests, run without pytest

from io import StringIO
from typing import ClassVar

from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import TestCase

from django_chatgpt.models import AIMessage, AIUsage
from django_chatgpt.services import AIService, IndexService
from example.ai_indexes import help_pages
from example.models import HelpArticle

#: What a visitor asks, and the page that answers it; they share hardly a word.
QUESTIONS = {
    "How long may I have a novel at home?": "Borrowing",
    "What is the fine if I bring something back after the deadline?": "Late returns",
    "Somebody stole my library pass, what now?": "Lost cards",
    "Can I come on a Monday?": "Opening hours",
    "My dog chewed the cover of a novel": "Damaged books",
    "How do I reach you by public transport?": "Getting here",
    "Is there a quiet place to study together?": "Reading rooms",
    "How do I become a member?": "Joining",
}


class HelpDeskTests(TestCase):
    user: ClassVar[User]

    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("ada", password="ada-secret")
        call_command("chatgpt_index", stdout=StringIO())

    def test_the_right_page_is_among_those_found_and_mostly_the_first(self) -> None:
        first = 0
        for question, title in QUESTIONS.items():
            found = [each.object.title for each in IndexService(self.user).search(question, "help", top_k=5)]
            self.assertNotIn("For the staff", found)
            self.assertIn(title, found)
            first += found[0] == title
        self.assertGreaterEqual(first, 6)

    def test_an_answer_keeps_which_pages_it_was_given(self) -> None:
        question = "How long may I have a novel at home?"
        reply = AIService(self.user).ask(question, sources=["help"], use_functions=False, max_tokens=60)
        self.assertTrue(reply.content.strip())
        self.assertEqual([source.number for source in reply.sources], [1, 2, 3, 4, 5])
        best = HelpArticle.objects.get(pk=help_pages.pk_of(reply.sources[0].object_key))
        self.assertEqual(best.title, QUESTIONS[question])
        assert reply.message_id is not None
        kept = AIMessage.objects.get(pk=reply.message_id).metadata["sources"]
        self.assertEqual(kept, [source.model_dump() for source in reply.sources])
        self.assertGreater(reply.usage.prompt_tokens, 200)
        self.assertEqual(reply.cost, 0)
        kinds = set(AIUsage.objects.filter(user=self.user).values_list("kind", "model"))
        self.assertEqual(kinds, {("chat", "smollm2"), ("embedding", "all-minilm-l6-v2")})
