"""The site's own pages, with the chat in their corner; the chat page itself comes with django-chatgpt."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render

from example.models import Book, HelpArticle


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The books of the library."""
    return render(request, "example/home.html", {"books": Book.objects.all()})


@login_required
def help_page(request: HttpRequest, pk: int) -> HttpResponse:
    """A page of the help desk, which an answer may name as its source."""
    article = get_object_or_404(HelpArticle, pk=pk, public=True)
    return render(request, "example/article.html", {"article": article})
