"""Statements that are put together once and run many times.

Django builds the SQL of every `save()` and `update()` anew, which takes several times as long as a database
takes to run it. A turn writes the same few rows each time; their statements are kept, by table, columns and
database. Values go through their fields as always. What is written here sends no signals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal
from functools import lru_cache
from itertools import chain, repeat
from typing import Any

from django.db import connections, models
from django.db.models.sql import InsertQuery
from django.utils import timezone

from django_chatgpt.storage.primary import primary

_Model = type[models.Model]
_SURE = Context(prec=15)


def insert(row: models.Model) -> None:
    """Insert a new row, as `save(force_insert=True)` does."""
    alias = primary()
    connection = connections[alias]
    sql, fields = _insert(type(row), alias)
    with connection.cursor() as cursor:
        cursor.execute(sql, _values(row, fields, connection))
    row._state.adding, row._state.db = False, alias


def insert_all(model: _Model, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert new rows of one table, as their driver does many at once.

    Each row maps names of columns ("turn_id") to values, all the same names; the others are what they are in
    any new row.
    """
    if not rows:
        return
    alias = primary()
    connection = connections[alias]
    now = timezone.now()
    sql, fields = _insert(model, alias)
    columns = [_prepared(field, _new_values(field, rows, now), connection) for field in fields]
    with connection.cursor() as cursor:
        cursor.executemany(sql, list(zip(*columns, strict=True)))


def _new_values(field: Any, rows: Sequence[Mapping[str, Any]], now: datetime) -> Iterable[Any]:
    name = field.attname
    if name in rows[0]:
        return (row[name] for row in rows)
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        return repeat(now, len(rows))
    return (field.get_default() for _ in rows)


def _prepared(field: Any, values: Iterable[Any], connection: Any) -> list[Any]:
    """The values of one column as the driver takes them; one that is the same as before is prepared once."""
    prepared: list[Any] = []
    last, ready = object(), None
    for value in values:
        if value is not last:
            last, ready = value, field.get_db_prep_save(value, connection)
        prepared.append(ready)
    return prepared


def _values(row: models.Model, fields: Iterable[models.Field[Any, Any]], connection: Any) -> list[Any]:
    return [field.get_db_prep_save(field.pre_save(row, add=True), connection) for field in fields]


def update(
    model: _Model,
    where: Mapping[str, Any],
    values: Mapping[str, Any],
    *,
    add: Mapping[str, Any] | None = None,
) -> int:
    """Set `values`, and add `add` to what is there, in the rows that equal `where`; how many they were.

    All three map names of fields to values; `updated_at` is set to now. None in `where` means IS NULL.
    """
    alias = primary()
    connection = connections[alias]
    values = {"updated_at": timezone.now(), **values}
    add = add or {}
    empty = tuple(name for name, value in where.items() if value is None)
    sql = _update(model, alias, tuple(values), tuple(add), tuple(where), empty)
    fields = _fields(model)
    given = chain(values.items(), add.items(), (each for each in where.items() if each[1] is not None))
    parameters = [fields[name].get_db_prep_save(value, connection) for name, value in given]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        changed: int = cursor.rowcount
    return changed


def update_each(model: _Model, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Many such updates, as their driver does many at once; each row is (where, values), all of one form."""
    if not rows:
        return
    alias = primary()
    connection = connections[alias]
    where, values = rows[0]
    sql = _update(model, alias, ("updated_at", *values), (), tuple(where), ())
    fields = _fields(model)
    columns = [_prepared(fields["updated_at"], repeat(timezone.now(), len(rows)), connection)]
    columns += [_prepared(fields[name], [each[1][name] for each in rows], connection) for name in values]
    columns += [_prepared(fields[name], [each[0][name] for each in rows], connection) for name in where]
    with connection.cursor() as cursor:
        cursor.executemany(sql, list(zip(*columns, strict=True)))


def find(model: _Model, where: Mapping[str, Any], *names: str) -> tuple[Any, ...] | None:
    """The values of the fields `names` in the row that equals `where`; None if there is no such row."""
    alias = primary()
    connection = connections[alias]
    empty = tuple(name for name, value in where.items() if value is None)
    sql = _find(model, alias, names, tuple(where), empty)
    fields = _fields(model)
    parameters = [
        fields[name].get_db_prep_value(value, connection)
        for name, value in where.items()
        if value is not None
    ]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return row and tuple(fields[name].to_python(value) for name, value in zip(names, row, strict=True))


def sum_between(
    model: _Model, names: Sequence[str], by: str, since: Any, until: Any, where: Mapping[str, Any]
) -> tuple[Decimal | None, ...]:
    """The sums of decimal fields over the rows that equal `where` and whose `by` is in [since, until)."""
    alias = primary()
    connection = connections[alias]
    sql = _sum_between(model, alias, tuple(names), by, tuple(where))
    fields = _fields(model)
    given = [(by, since), (by, until), *where.items()]
    parameters = [fields[name].get_db_prep_value(value, connection) for name, value in given]
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
    return tuple(None if value is None else _decimal(value) for value in row)


def _decimal(value: Any) -> Decimal:
    """SQLite adds up in floating point, of which as much is kept as it can be sure of."""
    return value if isinstance(value, Decimal) else _SURE.create_decimal(value)


@lru_cache(maxsize=128)
def _insert(model: _Model, alias: str) -> tuple[str, tuple[models.Field[Any, Any], ...]]:
    fields = model._meta.local_concrete_fields
    query = InsertQuery(model)
    query.insert_values(fields, [model()])
    [(sql, _)] = query.get_compiler(using=alias).as_sql()
    return sql, tuple(fields)


@lru_cache(maxsize=128)
def _update(
    model: _Model,
    alias: str,
    values: tuple[str, ...],
    add: tuple[str, ...],
    where: tuple[str, ...],
    empty: tuple[str, ...],
) -> str:
    table, columns = _quoted(model, alias)
    changes = [f"{columns[name]} = %s" for name in values]
    changes += [f"{columns[name]} = {columns[name]} + %s" for name in add]
    return f"UPDATE {table} SET {', '.join(changes)} WHERE {_equal(columns, where, empty)}"


@lru_cache(maxsize=128)
def _find(
    model: _Model, alias: str, names: tuple[str, ...], where: tuple[str, ...], empty: tuple[str, ...]
) -> str:
    table, columns = _quoted(model, alias)
    selected = ", ".join(columns[name] for name in names)
    return f"SELECT {selected} FROM {table} WHERE {_equal(columns, where, empty)}"


@lru_cache(maxsize=128)
def _sum_between(model: _Model, alias: str, names: tuple[str, ...], by: str, where: tuple[str, ...]) -> str:
    table, columns = _quoted(model, alias)
    sums = ", ".join(f"SUM({columns[name]})" for name in names)
    limits = [f"{columns[by]} >= %s", f"{columns[by]} < %s", *(f"{columns[name]} = %s" for name in where)]
    return f"SELECT {sums} FROM {table} WHERE {' AND '.join(limits)}"


def _quoted(model: _Model, alias: str) -> tuple[str, dict[str, str]]:
    """The table, and the columns by name of field."""
    quote = connections[alias].ops.quote_name
    return quote(model._meta.db_table), {name: quote(each.column) for name, each in _fields(model).items()}


def _equal(columns: Mapping[str, str], where: tuple[str, ...], empty: tuple[str, ...]) -> str:
    return " AND ".join(columns[name] + (" IS NULL" if name in empty else " = %s") for name in where)


@lru_cache(maxsize=32)
def _fields(model: _Model) -> dict[str, Any]:
    """Fields by their names, those of their columns ("user_id"), and "pk"."""
    fields = model._meta.local_concrete_fields
    return {name: field for field in fields for name in (field.name, field.attname)} | {"pk": model._meta.pk}
