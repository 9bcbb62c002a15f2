"""The chat page. Everything that it shows comes from the HTTP interface; the view only lets in or not."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import engines
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from django_chatgpt.pages.shell import may_use, shell
from django_chatgpt.storage.conversations import is_own


@login_not_required  # It asks strangers to log in itself, whether or not the site's middleware does.
@require_safe
@never_cache
def chat_page(request: HttpRequest, conversation_id: UUID | None = None) -> HttpResponse:
    """The page, at a new conversation or at one of one's own.

    Strangers are sent to LOGIN_URL; who may not ask is told so. A site without templates has no pages.
    """
    if not engines.all():
        raise Http404("This site has no templates.")
    if not request.user.is_authenticated:
        return redirect_to_login(request.get_full_path())
    if not may_use(request):
        return render(request, "django_chatgpt/forbidden.html", status=403)
    if conversation_id is not None and not is_own(conversation_id, request.user.pk):
        raise Http404("You have no such conversation.")
    context = shell(request) | {"conversation_id": conversation_id or ""}
    return render(request, "django_chatgpt/page.html", context)
