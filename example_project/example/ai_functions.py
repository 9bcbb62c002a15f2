"""What the model may do on this site: tell the weather, look through the library, send a postcard.

Arguments are short texts: a small model that is asked for more rambles.
"""

from typing import Annotated, Any

from django.db.models import Case, IntegerField, Q, Value, When
from pydantic import Field

from django_chatgpt.exceptions import ToolFailedError
from django_chatgpt.functions import Caller, ai_function
from example.models import Book, Postcard

# Patterns, because they bind a provider in strict mode, where a length is only told.
NAME = r'^[^"<>\\]{1,40}$'
LINE = r'^[^"<>\\]{1,80}$'

# Made up, and the same at each asking.
WEATHER = {
    "accra": ("sunny", 31),
    "berlin": ("cloudy", 14),
    "london": ("rainy", 12),
    "madrid": ("sunny", 27),
    "oslo": ("snowy", -3),
    "paris": ("sunny", 21),
    "rome": ("clear", 24),
    "tokyo": ("windy", 18),
}

SHORTEST_WORD = 3
MOST_WORDS = 5
MOST_BOOKS = 5


@ai_function
def get_weather(city: Annotated[str, Field(pattern=NAME)]) -> dict[str, Any]:
    """The present weather of a city.

    Args:
        city: Name of the city.
    """
    known = WEATHER.get(city.strip().casefold())
    if known is None:
        names = ", ".join(name.title() for name in WEATHER)
        raise ToolFailedError(f"There is no weather for that city. There is for: {names}.")
    sky, celsius = known
    return {"city": city.strip(), "sky": sky, "celsius": celsius, "source": "made up for this example"}


@ai_function
def search_database(query: Annotated[str, Field(pattern=LINE)]) -> dict[str, Any]:
    """Search the books of the library by words of their title, author or summary, best matches first.

    Args:
        query: Words to look for.
    """
    words = [word for word in query.split() if len(word) >= SHORTEST_WORD][:MOST_WORDS]
    if not words:
        raise ToolFailedError(f"Give at least one word of {SHORTEST_WORD} letters to look for.")
    matches = [
        Q(title__icontains=word) | Q(author__icontains=word) | Q(summary__icontains=word) for word in words
    ]
    score = sum(
        (Case(When(match, then=1), default=0, output_field=IntegerField()) for match in matches), Value(0)
    )
    found = Book.objects.annotate(score=score).filter(score__gt=0).order_by("-score", "title")
    return {
        "found": found.count(),
        "books": found.values("title", "author", "year", "summary")[:MOST_BOOKS],
    }


@ai_function(requires_approval=True, permission=lambda user: user is not None)
def send_postcard(
    recipient: Annotated[str, Field(pattern=NAME)],
    greeting: Annotated[str, Field(pattern=LINE)],
    caller: Caller,
) -> str:
    """Send a picture postcard to a person.

    Args:
        recipient: Who gets it.
        greeting: What is written on it.
    """
    Postcard.objects.get_or_create(
        key=caller.idempotency_key,
        defaults={"sender": caller.user, "recipient": recipient, "greeting": greeting},
    )
    return f"The postcard to {recipient} is sent."
