"""The reference of the models lists the tables, columns and rules there are, and no other."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.db import models

from django_chatgpt.models import AIAlert
from tests.docs.models_page import BASE, typed
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "models.md").read_text(encoding="utf-8")
MODELS = {model.__name__: model for model in apps.get_app_config("django_chatgpt").get_models()}
by_name = pytest.mark.parametrize("name", MODELS)


def section(name: str) -> str:
    return PAGE.split(f"\n## {name}\n")[1].split("\n## ")[0]


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the rows below a heading; none where there is no such table."""
    _, found, rest = text.partition(f"| {heading} |")
    lines = rest.split("\n\n")[0].splitlines()[2:] if found else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_model_has_a_section_and_nothing_else_has() -> None:
    assert set(re.findall(r"^## (.+)$", PAGE, re.MULTILINE)) == {*MODELS, "In code"}


def test_the_columns_of_all_are_told_once() -> None:
    listed = [cells[:2] for cells in table(PAGE.split("\n## ")[0], "column | type | meaning")]
    assert listed == [[f"`{name}`", type(MODELS["AITurn"]._meta.get_field(name)).__name__] for name in BASE]


@by_name
def test_columns_are_listed_with_their_types(name: str) -> None:
    meta = MODELS[name]._meta
    assert section(name).startswith(f"\nTable `{meta.db_table}`.\n")
    listed = [cells[:2] for cells in table(section(name), "column | type | meaning")]
    assert listed == [[f"`{field.name}`", typed(field)] for field in meta.fields if field.name not in BASE]


@by_name
def test_every_choice_is_named(name: str) -> None:
    meaning = {cells[0]: cells[2] for cells in table(section(name), "column | type | meaning")}
    for field in MODELS[name]._meta.fields:
        for value, _ in field.choices or ():
            assert f"`{value}`" in meaning[f"`{field.name}`"]


@by_name
def test_indexes_and_constraints_are_listed(name: str) -> None:
    meta = MODELS[name]._meta
    listed = [cells[0] for cells in table(section(name), "index or constraint | for")]
    rules: list[Any] = [*meta.indexes, *meta.constraints]
    assert listed == [f"`{rule.name}`" for rule in rules]


@by_name
def test_properties_and_querysets_that_are_named_exist(name: str) -> None:
    model = MODELS[name]
    opening = section(name).split("\n\n| ")[0]
    for called in re.findall(r"`([a-z_]+)\(", opening):
        assert hasattr(model._default_manager, called) or callable(getattr(model, called))
    for shown in re.findall(r"propert\w+\s+`([a-z_]+)`", opening):
        assert isinstance(getattr(model, shown), property)
    for manager in re.findall(r"`(objects|active)`[;,]", opening):
        assert isinstance(getattr(model, manager), models.Manager)


def test_the_code_runs(user: "User", capsys: pytest.CaptureFixture[str]) -> None:
    talk = rows.conversation(user=user, title="Ducks")
    rows.message(talk)
    rows.usage(user=user, outcome="failed")
    rows.usage(user=user)
    rows.embedding(user=user)
    AIAlert.objects.create(title="one", conversation=talk)
    code = PAGE.split("```python\n")[1].split("```")[0]
    given: dict[str, Any] = {"user": user}
    exec(compile(code, "reference/models.md", "exec"), given)
    assert capsys.readouterr().out == "Ducks 1\n"
    assert list(given["transcript"]) == [("user", "Hello")]
    assert [usage.outcome for usage in given["unpriced"]] == ["failed"]
    assert [vector.shape for vector in given["vectors"]] == [(3,)]
    assert not AIAlert.objects.unresolved().exists()
