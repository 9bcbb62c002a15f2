"""A function with an effect that a test can count: a line in the file that the site's settings name."""

from pathlib import Path

from django.conf import settings

from django_chatgpt.functions import Caller, ai_function


@ai_function(requires_approval=True)
def pay(amount: int, caller: Caller) -> str:
    """Pay somebody."""
    with Path(settings.PAYMENTS_FILE).open("a") as payments:
        payments.write(f"{amount} {caller.idempotency_key}\n")
    return f"paid {amount}"
