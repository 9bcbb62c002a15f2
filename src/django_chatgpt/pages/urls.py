"""The routes of the page; part of what `include("django_chatgpt.urls")` gives."""

from django.urls import path

from django_chatgpt.pages.views import chat_page

urlpatterns = [
    path("", chat_page, name="page"),
    path("c/<uuid:conversation_id>/", chat_page, name="talk"),
]
