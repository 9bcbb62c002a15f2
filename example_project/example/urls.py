"""Addresses of the example site: the chat page, login and logout, the admin, and django-chatgpt under ai/."""

from django.contrib import admin
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from example.views import ChatView

urlpatterns = [
    path("", ChatView.as_view(), name="chat"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("admin/", admin.site.urls),
    path("ai/", include("django_chatgpt.urls")),
]
