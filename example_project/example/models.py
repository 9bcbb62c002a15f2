"""What the example site keeps: the books of a small library, its help pages, and postcards that were sent."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.urls import reverse


class Book(models.Model):
    """A book of the library. Titles, authors and summaries are made up."""

    title = models.CharField(max_length=120)
    author = models.CharField(max_length=80)
    year = models.PositiveSmallIntegerField()
    summary = models.CharField(max_length=200)

    objects: ClassVar[models.Manager["Book"]] = models.Manager()

    class Meta:
        ordering: ClassVar = ["title"]

    def __str__(self) -> str:
        return self.title


class HelpArticle(models.Model):
    """A page of the library's help desk; `ai_indexes.py` has it found by meaning."""

    title = models.CharField(max_length=120, unique=True)
    body = models.TextField()
    public = models.BooleanField(default=True)

    objects: ClassVar[models.Manager["HelpArticle"]] = models.Manager()

    class Meta:
        ordering: ClassVar = ["title"]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("help", args=[self.pk])


class Postcard(models.Model):
    """A postcard that a model was allowed to send; it goes no further than this table."""

    sender = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    recipient = models.CharField(max_length=40)
    greeting = models.CharField(max_length=80)
    key = models.CharField("idempotency key", max_length=64, unique=True, editable=False)
    sent_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager["Postcard"]] = models.Manager()

    class Meta:
        ordering: ClassVar = ["-sent_at"]

    def __str__(self) -> str:
        return f"To {self.recipient}"
