"""Addresses of the example site: library, help pages, login and logout, the admin, and the chat at ai/."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from example.views import help_page, home

urlpatterns = [
    path("", home, name="home"),
    path("help/<int:pk>/", help_page, name="help"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("ai/", include("django_chatgpt.urls")),
]
