"""The routes of the site that the tests run: what a host site writes, and the admin."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("ai/", include("django_chatgpt.urls")),
    path("admin/", admin.site.urls),
]
