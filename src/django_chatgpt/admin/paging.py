"""How many rows a list has, without counting them all."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db import connections
from django.db.models import QuerySet

COUNTED = 10_000

if TYPE_CHECKING:
    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator


class BoundedPaginator(_Paginator):
    """Pages of a table that may have millions of rows.

    No more than COUNTED rows are ever counted: `more` says that there are others behind them, which a filter
    finds. A whole table of PostgreSQL is as long as the database itself estimates; then `estimated` is true.
    """

    more = False
    estimated = False

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return len(rows)
        estimate = _estimate(rows)
        if estimate is not None and estimate > COUNTED:
            self.estimated = True
            return estimate
        # Sums and counts that the list shows of each row are not worked out for rows that are only counted.
        found = rows.order_by().values("pk")[: COUNTED + 1].count()
        self.more = found > COUNTED
        return min(found, COUNTED)


def _estimate(rows: QuerySet[Any]) -> int | None:
    """How many rows the table has as PostgreSQL last saw; None where nobody knows, or not all are wanted."""
    connection = connections[rows.db]
    query = rows.query
    if connection.vendor != "postgresql" or query.where or query.distinct or query.is_sliced:
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass(%s)",
            [connection.ops.quote_name(query.get_meta().db_table)],
        )
        found = cursor.fetchone()
    return int(found[0]) if found and found[0] is not None and found[0] >= 0 else None
