"""The example site's routes, and what only tests need."""

from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.urls import path
from example.urls import urlpatterns as example

from tests.servers.urls import configure

HOSTILE = """{% load django_chatgpt static %}<!doctype html><html lang="en"><head><title>Hostile</title>
<link rel="stylesheet" href="/hostile.css"></head>
<body><h1>Hostile</h1><p>Host text</p>{% chatgpt_widget %}</body></html>"""
STYLES = """html { font-size: 10px !important; }
body, body * { color: red !important; font-size: 40px !important; display: block !important; }
button, p, textarea { border: 9px solid red !important; position: static !important; }"""


def hostile(request: HttpRequest) -> HttpResponse:
    """A page whose own styles would spoil everything in it."""
    return HttpResponse(engines["django"].from_string(HOSTILE).render({}, request))


def hostile_styles(request: HttpRequest) -> HttpResponse:
    return HttpResponse(STYLES, content_type="text/css")


urlpatterns = [
    *example,
    path("configure/", configure),
    path("hostile/", hostile),
    path("hostile.css", hostile_styles),
]
