"""Migrate the database of the site and let people in: one who sees costs, one who does not."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
people = get_user_model().objects
people.create_superuser("grace", password="grace-secret")
people.create_user("ada", password="ada-secret")
