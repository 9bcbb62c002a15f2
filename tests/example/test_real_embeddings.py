"""Real vectors of a real model: what means the same is found, whatever the words."""

from collections.abc import Iterator

import numpy as np
import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from local_model import LocalModel

from django_chatgpt.models import AIUsage
from django_chatgpt.services import EmbeddingService
from django_chatgpt.testing.embeddings import embed

pytestmark = [pytest.mark.realmodel, pytest.mark.django_db]

#: What is stored, and what somebody who has not read it might ask.
PAIRS = {
    "Refunds are paid back to your card within five working days.": "How long until I get my money back?",
    "Orders leave our warehouse on the day after they are placed.": "When will my parcel be sent?",
    "You can change the delivery address until the parcel is packed.": "I moved house, can it go elsewhere?",
    "Reset your password with the link below the sign-in form.": "I can't remember my login secret",
    "Gift vouchers are valid for three years.": "Does a present card expire?",
    "We ship to all countries of the European Union.": "Do you deliver to Portugal?",
    "Broken items are replaced free of charge.": "My mug arrived in pieces",
    "Call us on weekdays between nine and five.": "At what hours can I phone you?",
    "Invoices can be downloaded from your account page.": "Where do I find my bill as a file?",
    "Students get ten per cent off with a valid card.": "Is it cheaper if I go to university?",
    "The shop in the old town is closed on Mondays.": "Can I visit your store at the start of the week?",
    "Dogs are welcome in the garden of the café.": "May I bring my puppy?",
    "All our soups are made without meat.": "Is there something for vegetarians?",
    "The train to the coast leaves every half hour.": "How often can I go to the seaside by rail?",
    "Bicycles may be taken on board outside rush hours.": "Am I allowed to carry my bike?",
    "Children under six travel for nothing.": "Does my toddler need a ticket?",
    "The museum's collection of clocks is on the second floor.": "Where are the old timepieces shown?",
    "Photographs are allowed without flash.": "Can I take pictures inside?",
    "The library lends books for four weeks.": "How long may I keep a novel?",
    "A lost membership card costs five euros to replace.": "What do I pay for a new pass?",
    "Water the tomatoes in the morning, at the root.": "When should vegetables be given a drink?",
    "Prune roses at the end of winter.": "What is the right season to cut back the flowers?",
    "Bread dough needs an hour to rise in a warm place.": "How long before I can bake the loaf?",
    "Sharpen kitchen knives on a wet stone.": "My blade is blunt, what helps?",
    "Oil the chain after riding in the rain.": "Bike maintenance after wet weather",
    "The engine needs new oil every fifteen thousand kilometres.": "How often does the car need a service?",
    "Keep receipts for your tax return for ten years.": "How long must I store papers for the taxman?",
    "The rent is due on the first of the month.": "On which day do I pay the landlord?",
    "Quiet hours in the house are from ten at night.": "Until when may I make noise?",
    "The doctor sees patients without an appointment on Fridays.": "Can I just turn up at the surgery?",
    "Take the tablets with food, twice a day.": "How is the medicine to be swallowed?",
    "A fever above 39 degrees should be looked at.": "My child is very hot, shall I be worried?",
    "The pool has a lane for slow swimmers.": "Is there a place for people who swim leisurely?",
    "The mountain hut serves hot meals until eight.": "Can I get dinner up on the peak?",
    "Avalanches are most likely after heavy snowfall.": "When is it dangerous on the slopes?",
    "Choir practice is on Tuesday evenings.": "When do the singers rehearse?",
    "The printer takes only A4 paper.": "Which sheets fit the machine in the office?",
    "Back up your files to another disk every week.": "How do I avoid losing my data?",
    "Hold the power button for ten seconds to restart the router.": "My internet box hangs",
    "Meetings can be booked in the calendar a month ahead.": "How early can I reserve the conference room?",
}


@pytest.fixture(autouse=True)
def _local(real_embedder: LocalModel) -> Iterator[None]:
    with override_settings(
        OPENAI_BASE_URL=real_embedder.base_url,
        OPENAI_API_KEY="local",
        OPENAI_EMBEDDING_MODEL=real_embedder.name,
        OPENAI_CONTEXT_WINDOW={real_embedder.name: 400},
        OPENAI_PRICES={real_embedder.name: {"input": "0"}},
    ):
        yield


def test_nine_of_ten_paraphrases_find_what_they_mean(user: User) -> None:
    service = EmbeddingService(user)
    stored = service.create_embeddings_batch(list(PAIRS))
    assert stored.failed == []
    assert {row.dimensions for row in stored.embeddings} == {384}
    wrong = {
        asked: found.text
        for text, asked in PAIRS.items()
        if (found := service.similarity_search(asked, top_k=1)[0]).text != text
    }
    accuracy = 1 - len(wrong) / len(PAIRS)
    assert accuracy >= 0.9, wrong
    usage = AIUsage.objects.first()
    assert usage is not None
    assert (usage.outcome, usage.usage_source, usage.estimated_cost) == ("completed", "provider", 0)


def test_a_measure_that_only_compares_words_would_fail() -> None:
    """The pairs are hard enough to tell meaning from words: the fake's vectors know only these."""
    stored = np.stack([embed(text, 1536) for text in PAIRS])
    asked = np.stack([embed(text, 1536) for text in PAIRS.values()])
    right = ((asked @ stored.T).argmax(axis=1) == np.arange(len(PAIRS))).mean()
    assert right < 0.6


def test_what_is_too_long_for_the_model_is_cut(user: User) -> None:
    row = EmbeddingService(user).create_embedding("Lions hunt at night. " * 200, chunk=True)
    assert row.dimensions == 384
