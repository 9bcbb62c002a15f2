"""The help desk of the library: a dozen short pages, written for this example, and one that is not public."""

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

ARTICLE = "example.HelpArticle"
PAGES = {
    "Borrowing": (
        "You may keep a book for four weeks. Films and games go back after seven days. At most fifteen "
        "items can be out on one card."
    ),
    "Renewing": (
        "A loan can be extended twice, by four weeks each time, on your account page or by phone, unless "
        "somebody else is waiting for the item."
    ),
    "Late returns": (
        "For each day that an item is overdue we charge twenty cents, up to five euros. Children pay nothing."
    ),
    "Joining": (
        "Bring an identity card and a proof of address to the front desk. Membership costs twelve euros "
        "a year and is free below the age of eighteen."
    ),
    "Lost cards": (
        "Tell us at once, so that nobody borrows in your name. A replacement costs three euros and is "
        "printed while you wait."
    ),
    "Opening hours": (
        "We are open from Tuesday to Saturday, ten to six, on Thursdays until eight. On Sundays, Mondays "
        "and public holidays the doors stay closed."
    ),
    "Reservations": (
        "An item that is out can be put aside for you. We write to you when it is back and hold it at "
        "the desk for five working days."
    ),
    "Printing and copying": (
        "A page costs ten cents in black and white and thirty in colour. Scanning to a memory stick is free."
    ),
    "Reading rooms": (
        "Six rooms on the second floor can be booked for up to three hours a day. Drinks with a lid are "
        "welcome, meals are not."
    ),
    "Damaged books": (
        "Please don't repair anything yourself. Show us torn or wet pages when you bring the book back; "
        "we ask for its price only if it can't be mended."
    ),
    "Electronic books": (
        "With your card number and password you can read on your own device. A title returns by itself "
        "after three weeks, so it is never overdue."
    ),
    "Getting here": (
        "Tram 4 stops at our door. The bicycle stands are in the courtyard, and the entrance on Mill "
        "Lane has no steps."
    ),
}
INTERNAL = ("For the staff", "The code of the returns machine is changed on the first of the month.")


def add(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    article = apps.get_model(ARTICLE)
    rows = [article(title=title, body=body) for title, body in PAGES.items()]
    rows.append(article(title=INTERNAL[0], body=INTERNAL[1], public=False))
    article.objects.using(editor.connection.alias).bulk_create(rows)


class Migration(migrations.Migration):
    dependencies = [("example", "0002_books")]

    operations = [
        migrations.CreateModel(
            name="HelpArticle",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=120, unique=True)),
                ("body", models.TextField()),
                ("public", models.BooleanField(default=True)),
            ],
            options={"ordering": ["title"]},
        ),
        migrations.RunPython(add, migrations.RunPython.noop),
    ]
