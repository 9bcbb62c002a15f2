"""Calls of functions in the admin; those that wait for a person are the queue of approvals."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.html import format_html
from django.utils.text import Truncator
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin.base import ObjectField, RecordAdmin, Tool, may_read
from django_chatgpt.admin.filters import CalledFunctionFilter, CreatedFilter
from django_chatgpt.admin.paging import COUNTED
from django_chatgpt.admin.running import set_going
from django_chatgpt.admin.transcript import pretty
from django_chatgpt.exceptions import AIServiceError, ConflictError, InvalidRequestError
from django_chatgpt.functions import function_registry
from django_chatgpt.models import AIFunctionCall, AITurn
from django_chatgpt.services import approvals

Status = AIFunctionCall.Status


class DecisionForm(forms.Form):
    """Arguments that may be changed before they are agreed to."""

    arguments = ObjectField(
        label=_("Arguments"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 8, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text=_("Change them if the call should be made with others. They are checked again."),
    )


@admin.register(AIFunctionCall)
class AIFunctionCallAdmin(RecordAdmin[AIFunctionCall]):
    """Read in the list, decided on a page of its own, because a decision sets a turn going."""

    list_display = (
        "name",
        "status",
        "decision",
        "arguments_in_short",
        "asked_by",
        "may_decide",
        "expires_at",
        "decided_by",
        "created_at",
    )
    list_filter = ("status", CalledFunctionFilter, CreatedFilter)
    list_select_related = ("turn__user", "decided_by")
    search_fields = ("call_id", "name")
    user_field = "turn__user_id"
    key_fields = ("pk", "turn", "turn__conversation")
    sortable_by = ()
    ordering = ("-id",)
    text_fields = ("arguments",)
    fieldsets = (
        (None, {"fields": ("name", "arguments", "status", "error_code", "duration_ms")}),
        (_("Approval"), {"fields": ("may_decide", "expires_at", "decided_by", "decided_at")}),
        (
            _("Record"),
            {"fields": ("turn", "asked_by", "call_id", "fingerprint", "id", "created_at", "updated_at")},
        ),
    )
    readonly_fields = ("may_decide", "asked_by")

    def get_list_display(self, request: HttpRequest) -> Any:
        shown = super().get_list_display(request)
        return [name for name in shown if name != "arguments_in_short" or may_read(request)]

    def list_tools(self, request: HttpRequest) -> list[Tool]:
        waiting = AIFunctionCall.objects.filter(
            status=Status.AWAITING_APPROVAL, expires_at__gt=timezone.now()
        )
        number = waiting.order_by()[: COUNTED + 1].count()
        text = ngettext("%d waits for approval", "%d wait for approval", number) % number
        return [Tool(self.address("changelist") + f"?status__exact={Status.AWAITING_APPROVAL}", text)]

    def row_tools(self, request: HttpRequest, row: AIFunctionCall) -> list[Tool]:
        waits = row.status == Status.AWAITING_APPROVAL
        return [Tool(self.address("decide", row.pk), _("Decide"))] if waits else []

    @admin.display(description=_("decision"), empty_value="-")
    def decision(self, call: AIFunctionCall) -> str | None:
        if call.status != Status.AWAITING_APPROVAL:
            return None
        return format_html('<a href="{}">{}</a>', self.address("decide", call.pk), gettext("Decide"))

    @admin.display(description=_("arguments"))
    def arguments_in_short(self, call: AIFunctionCall) -> str:
        return Truncator(call.arguments).chars(80)

    @admin.display(description=_("asked by"), empty_value="-")
    def asked_by(self, call: AIFunctionCall) -> object:
        return call.turn.user

    @admin.display(description=_("may decide"), empty_value="-")
    def may_decide(self, call: AIFunctionCall) -> str | None:
        """Who can still do something about it, in the words of the function's definition."""
        if call.status != Status.AWAITING_APPROVAL:
            return None
        function = function_registry.get_function(call.name)
        if function is None:
            return gettext("nobody: the function is gone")
        if function.approval_permission is None:
            return gettext("the asker")
        words = (
            gettext("whoever has %s")
            if function.self_approval
            else gettext("whoever has %s, but not the asker")
        )
        return words % function.approval_permission

    def own_urls(self) -> Iterable[URLPattern]:
        yield self.page("<path:object_id>/decide/", self.decide, "decide")

    def decide(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Agree to a call, or decline it; the function's own rule says who may."""
        call = self.row(request, object_id)
        may = _may(request, call)
        if request.method == "POST":
            if not may:
                raise PermissionDenied
            form = DecisionForm(request.POST)
            if form.is_valid() or "deny" in request.POST:
                answer = self._decided(request, call, form)
                if answer is not None:
                    return answer
        else:
            form = DecisionForm(initial={"arguments": _object(call.arguments)})
        call.refresh_from_db()
        function = function_registry.get_function(call.name)
        return self.render_page(
            request,
            "decide.html",
            gettext("Decide about a call"),
            subtitle=call.name,
            call=call,
            form=form,
            may=may,
            waits=_waits(call),
            who=self.may_decide(call),
            description=function.text if function is not None else "",
            arguments=pretty(call.arguments),
            shows_arguments=may or may_read(request),
            transcript=self.transcript_address(request, call.turn.conversation_id),
        )

    def _decided(self, request: HttpRequest, call: AIFunctionCall, form: DecisionForm) -> HttpResponse | None:
        """Where to go after the decision; None if it can't be taken so."""
        approve = "deny" not in request.POST
        edited = form.cleaned_data["arguments"] if approve else None
        if edited == _object(call.arguments):
            edited = None
        try:
            prepared = approvals.decide(
                request.user, call.turn_id, approvals.Decision(approve, call.call_id, edited)
            )
        except InvalidRequestError as error:
            problem = error.fields.get("arguments")
            form.add_error("arguments" if problem else None, problem or error.message)
            return None
        except ConflictError:
            self.message_user(request, _late(call), messages.ERROR)
            return HttpResponseRedirect(self.address("decide", call.pk))
        except AIServiceError as error:
            self.message_user(request, error.message, messages.ERROR)
            return HttpResponseRedirect(self.address("decide", call.pk))
        self.log_change(request, call, gettext("Approved.") if approve else gettext("Denied."))
        said = gettext("Approved.") if approve else gettext("Denied.")
        self.message_user(request, f"{said} {_onward(prepared, request)}", messages.SUCCESS)
        return HttpResponseRedirect(self.address("changelist") + f"?status__exact={Status.AWAITING_APPROVAL}")


def _onward(prepared: Any, request: HttpRequest) -> str:
    """Have the turn go on if nothing waits any more, and say where it stands."""
    if isinstance(prepared, AITurn) and prepared.status == AITurn.Status.QUEUED:
        return gettext("A worker goes on with the turn.")
    if isinstance(prepared, AITurn):
        return gettext("The turn waits for other decisions.")
    if not set_going(prepared, request):
        return gettext("The turn goes on.")
    turn = AITurn.objects.get(pk=prepared.spec.turn_id)
    return gettext("The turn went on: it is %s.") % turn.get_status_display()


def _waits(call: AIFunctionCall) -> bool:
    return (
        call.status == Status.AWAITING_APPROVAL
        and call.expires_at is not None
        and call.expires_at > timezone.now()
    )


def _may(request: HttpRequest, call: AIFunctionCall) -> bool:
    function = function_registry.get_function(call.name)
    if function is None:
        # Nobody can agree any more, but the turn need not wait for nothing.
        return call.turn.user_id == request.user.pk
    return function.may_decide(request.user, call.turn.user)


def _late(call: AIFunctionCall) -> str:
    """What has happened to a call that somebody came too late for."""
    now = AIFunctionCall.objects.select_related("decided_by").get(pk=call.pk)
    if now.decided_by is not None:
        words = gettext("%(who)s has decided about this call already: it is %(status)s.")
        return words % {"who": now.decided_by, "status": now.get_status_display()}
    return gettext("This call does not wait for a decision any more: it is %s.") % now.get_status_display()


def _object(arguments: str) -> Any:
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return {}
