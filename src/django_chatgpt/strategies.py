"""Ready adapters, to be subclassed: answers to a question that many sites have the same answer to."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django_chatgpt.adapter import Adapter


class SteppingDown(Adapter):
    """Asks cheaper models as a budget runs low.

    `steps` are shares of the budget, as texts or Decimals, with the model that answers from there on:
    `(("0.5", "gpt-6-terra"), ("0.9", "gpt-6-luna"))`. Of several budgets the one that is used up most
    counts. A question for one of the models further down is
    left alone. A turn keeps the model that it began with.
    """

    steps: ClassVar[Sequence[tuple[str | Decimal, str]]] = ()

    def model_for(self, user: Any, wanted: str) -> str:
        steps = sorted((Decimal(share), model) for share, model in self.steps)
        if not steps:
            return wanted
        used = self.share_used(user)
        reached = [model for share, model in steps if used >= share]
        further = [model for share, model in steps if used < share]
        return wanted if not reached or wanted in further else reached[-1]

    def share_used(self, user: Any) -> Decimal:
        """The share of this user's budget that is spent or reserved: 0 where no budget applies, 1 for all."""
        # Who only names this class in the settings has no models yet.
        from django_chatgpt.services import budgets

        return budgets.share_used(user)
