"""`path("ai/", include("django_chatgpt.urls"))`."""

from django_chatgpt.api import urls

app_name = "django_chatgpt"
urlpatterns = urls
