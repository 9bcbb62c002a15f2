"""Migrate the database of the site and let one person in."""

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
get_user_model().objects.create_superuser("ada", "ada@example.com", "ada-secret")
