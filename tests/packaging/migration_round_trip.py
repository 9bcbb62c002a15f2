"""Migrate a new database forwards, the app back to nothing, and forwards again; exits non-zero when it can't.

Run with DJANGO_SETTINGS_MODULE set; prints the vendor of the database it used.
"""

import io

import django
from django.apps import apps
from django.core.management import call_command
from django.db import connection

APP = "django_chatgpt"


def tables() -> set[str]:
    """The tables there are now, without the ones that Django keeps for itself."""
    return {name for name in connection.introspection.table_names() if name != "django_migrations"}


def state() -> dict[str, list[str]]:
    """Each table with its columns and constraints, as the database describes them."""
    with connection.cursor() as cursor:
        return {
            table: sorted(
                [column.name for column in connection.introspection.get_table_description(cursor, table)]
                + list(connection.introspection.get_constraints(cursor, table))
            )
            for table in tables()
        }


def main() -> None:
    django.setup()
    own = {model._meta.db_table for model in apps.get_app_config(APP).get_models()}
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        first = state()
        assert own, "the app has no models"
        assert own <= first.keys(), f"not created: {own - first.keys()}"
        call_command("migrate", APP, "zero", verbosity=0)
        assert own.isdisjoint(tables()), f"left behind: {own & tables()}"
        assert tables() == first.keys() - own, f"gone: {first.keys() - own - tables()}"
        call_command("migrate", verbosity=0)
        assert state() == first, "the second migration made something else than the first"
        call_command("makemigrations", "--check", "--dry-run", stdout=io.StringIO())
    finally:
        connection.creation.destroy_test_db(connection.settings_dict["NAME"], verbosity=0)
    print(connection.vendor)


if __name__ == "__main__":
    main()
