"""`path("ai/", include("django_chatgpt.urls"))`: the chat page, and the HTTP interface."""

from django_chatgpt.api import urls
from django_chatgpt.pages.urls import urlpatterns as pages

app_name = "django_chatgpt"
# The interface's own root says nothing; the page is before it.
urlpatterns = [*pages, *urls]
