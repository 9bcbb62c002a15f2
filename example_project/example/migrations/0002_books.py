"""A handful of books to look for, made up for this example."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

BOOK = "example.Book"
BOOKS = [
    ("The Patient Garden", "Ama Terling", 1998, "How a stony yard became a garden of herbs and old roses."),
    ("Gardens by the Sea", "Ivo Marram", 2007, "Plants that bear salt and wind, and gardens made of them."),
    ("A Year with Bees", "Lene Holt", 2012, "Twelve months at four hives, told by a beekeeper."),
    (
        "What Bees Remember",
        "Tomas Quill",
        2019,
        "Experiments on the memory of bees, told for everybody.",
    ),
    ("Night Trains", "Rosa Veit", 2003, "Twenty sleeping-car journeys across a continent."),
    ("The Slow Tide", "Ivo Marram", 2015, "A novel of a harbour town that the sea takes back."),
    ("Bread for Beginners", "Jonah Pell", 2010, "Flour, water, salt and time: forty loaves."),
    ("Small Machines", "Keiko Arden", 2021, "Clocks, locks and music boxes taken apart and drawn."),
    ("Mountains in Winter", "Pavel Orlic", 1989, "A guide to snow, ice and coming home again."),
    ("The Cartographer's Daughter", "Rosa Veit", 2017, "A novel about a map that is right too early."),
]


def add(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    book = apps.get_model(BOOK)
    book.objects.using(editor.connection.alias).bulk_create(
        book(title=title, author=author, year=year, summary=summary) for title, author, year, summary in BOOKS
    )


def remove(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    titles = [title for title, *_ in BOOKS]
    apps.get_model(BOOK).objects.using(editor.connection.alias).filter(title__in=titles).delete()


class Migration(migrations.Migration):
    dependencies = [("example", "0001_library")]

    operations = [migrations.RunPython(add, remove)]
