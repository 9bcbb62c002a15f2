"""Column types that mean the same on every database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    _Text = models.CharField[str, str]
else:
    _Text = models.CharField

MONEY_DIGITS = 24
MONEY_PLACES = 12


class ExactCharField(_Text):
    """Text that is equal only to itself: case and trailing spaces count on MySQL and MariaDB too.

    Their default collations take "Key", "key" and "key " for the same value, in comparisons and in
    unique constraints.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        parameters: dict[str, Any] = dict(super().db_parameters(connection))
        if connection.vendor == "mysql" and not self.db_collation:
            mariadb = connection.mysql_is_mariadb  # type: ignore[attr-defined]
            parameters["collation"] = "utf8mb4_nopad_bin" if mariadb else "utf8mb4_0900_bin"
        return parameters
