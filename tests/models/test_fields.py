"""Text that is equal only to itself."""

from typing import Any

import pytest
from django.db import models
from django.db.backends.sqlite3.base import DatabaseWrapper

from django_chatgpt.models.fields import ExactCharField


def database(vendor: str, **features: Any) -> DatabaseWrapper:
    """A connection that is never opened and says it is of this vendor."""
    kind = type("Database", (DatabaseWrapper,), {"vendor": vendor, **features})
    connection: DatabaseWrapper = kind({"NAME": ":memory:"})
    return connection


@pytest.mark.parametrize(
    ("connection", "collation"),
    [
        (database("mysql", mysql_is_mariadb=True), "utf8mb4_nopad_bin"),
        (database("mysql", mysql_is_mariadb=False), "utf8mb4_0900_bin"),
        (database("postgresql"), None),
        (database("sqlite"), None),
    ],
    ids=["mariadb", "mysql", "postgresql", "sqlite"],
)
def test_only_databases_that_need_it_are_given_a_collation(
    connection: DatabaseWrapper, collation: str | None
) -> None:
    parameters = ExactCharField(max_length=10).db_parameters(connection)
    assert parameters["type"] == "varchar(10)"
    assert parameters["collation"] == collation


def test_a_collation_of_ones_own_is_kept() -> None:
    field = ExactCharField(max_length=10, db_collation="other")
    parameters = field.db_parameters(database("mysql", mysql_is_mariadb=True))
    assert parameters["collation"] == "other"


def test_it_is_text_to_forms_and_migrations() -> None:
    field = ExactCharField("name", max_length=10, unique=True)
    _, path, _, arguments = field.deconstruct()
    assert path == "django_chatgpt.models.fields.ExactCharField"
    assert arguments == {"verbose_name": "name", "max_length": 10, "unique": True}
    assert type(field.formfield()) is type(models.CharField(max_length=10).formfield())
