"""How today and this month stand to what the site wants to be told of."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from django_chatgpt.services.costs import monitor_costs


class Command(BaseCommand):
    help = (
        "Hold the cost of today and of this month against OPENAI_DAILY_COST_THRESHOLD and "
        "OPENAI_MONTHLY_COST_THRESHOLD, and raise an alert, once, where it is more."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        found = monitor_costs()
        if not found:
            self.stdout.write("There is no threshold.")
        for each in found.values():
            over = ", which is more" if each["over"] else ""
            alerted = "; an alert was raised" if each["alerted"] else ""
            self.stdout.write(
                f"{each['period']}: {each['spent']} USD of {each['threshold']} USD{over}{alerted}."
            )
