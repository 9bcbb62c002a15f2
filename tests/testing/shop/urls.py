"""One page, that answers."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from django_chatgpt.services import AIService


def ask(request: HttpRequest) -> HttpResponse:
    return HttpResponse(AIService().ask(request.GET["q"]).content)


async def aask(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await AIService().aask(request.GET["q"])).content)


urlpatterns = [path("ask/", ask), path("aask/", aask)]
