"""The routes of a site without the admin."""

from django.urls import include, path

urlpatterns = [path("ai/", include("django_chatgpt.urls"))]
