"""The ledger in the admin, and what it adds up to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_chatgpt.admin import charts, dates, export
from django_chatgpt.admin.base import RecordAdmin, Tool
from django_chatgpt.admin.filters import PeriodFilter, UsedModelFilter, UserFilter
from django_chatgpt.admin.report import SECTIONS, Report
from django_chatgpt.exceptions import NotConfiguredError
from django_chatgpt.models import AIUsage
from django_chatgpt.services.figures import usd

OF_THE_LIST = ["p", "o", "all", "e"]


class FilterOnly(ChangeList):
    """What a list is filtered by, without its rows."""

    def get_results(self, request: HttpRequest) -> None:
        self.result_count = self.full_result_count = 0
        self.result_list = []
        self.can_show_all, self.multi_page = False, False
        self.paginator = None


@admin.register(AIUsage)
class AIUsageAdmin(RecordAdmin[AIUsage]):
    """Read, never written or deleted: sums, budgets and bills rest on it."""

    list_display = (
        "timestamp",
        "model",
        "user",
        "total_tokens",
        "cost",
        "outcome",
        "kind",
        "usage_source",
        "latency_ms",
    )
    list_filter = (PeriodFilter, "kind", "outcome", "usage_source", UsedModelFilter, UserFilter)
    list_select_related = ("user",)
    date_hierarchy = "timestamp"
    search_fields = ("model", "request_id", "error_code")
    user_field = "user_id"
    key_fields = ("pk", "turn", "conversation")
    sortable_by = ("timestamp",)
    ordering = ("-timestamp", "-id")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.display(description=_("cost"))
    def cost(self, row: AIUsage) -> str:
        return usd(row.estimated_cost)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FilterOnly if hasattr(request, "chatgpt_filter_only") else super().get_changelist(request)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        # A day is the site's, whatever zone is active for whoever looks.
        with timezone.override(timezone.get_default_timezone()):
            return super().get_changelist_instance(request)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context:
            query = context["cl"].get_query_string(remove=OF_THE_LIST)
            context["tools"] = [
                Tool(self.address("report") + query, _("Charts and totals")),
                Tool(self.address("export") + query, _("Download as CSV")),
            ]
            context["dates"] = dates.choices(context["cl"], request.GET)
        return response

    def own_urls(self) -> Iterable[URLPattern]:
        yield self.page("report/", self.report, "report")
        yield self.page("report/<slug:section>-<slug:theme>.svg", self.chart, "chart")
        yield self.page("export.csv", self.export, "export")

    def report(self, request: HttpRequest) -> HttpResponse:
        """Totals and charts of exactly what is filtered; of the last 30 days where no time is chosen."""
        found = self._filtered(request)
        if isinstance(found, HttpResponse):
            return found
        if "period" not in request.GET and not any(name.startswith("timestamp__") for name in request.GET):
            return HttpResponseRedirect(found.get_query_string({"period": "30"}))
        report = Report(self._rows(found))
        query = found.get_query_string(remove=OF_THE_LIST)
        return self.render_page(
            request,
            "report.html",
            gettext("What was used"),
            report=report,
            sections=[
                (section, [(theme, self.address("chart", section.name, theme) + query) for theme in THEMES])
                for section in report.sections()
            ],
            periods=list(_periods(found)),
            filters=list(_chosen(found, request)),
            list_address=self.address("changelist") + query,
            export_address=self.address("export") + query,
            user_query=found.get_query_string(remove=["user"]),
            missing=charts.missing(),
        )

    def chart(self, request: HttpRequest, section: str, theme: str) -> HttpResponse:
        """One of the report's charts, as a picture."""
        found = self._filtered(request)
        if isinstance(found, HttpResponse):
            return found
        if section not in SECTIONS or theme not in THEMES:
            raise Http404
        drawn = Report(self._rows(found)).section(section)
        try:
            svg = charts.draw(drawn.bars, theme, lying=drawn.lying)  # type: ignore[arg-type]
        except NotConfiguredError as error:
            raise Http404(str(error)) from error
        return charts.picture(svg)

    def export(self, request: HttpRequest) -> Any:
        """The rows that are filtered, all of them."""
        found = self._filtered(request)
        return found if isinstance(found, HttpResponse) else export.table(self._rows(found), request)

    def _filtered(self, request: HttpRequest) -> ChangeList | HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        request.chatgpt_filter_only = True  # type: ignore[attr-defined]
        try:
            return self.get_changelist_instance(request)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(request.path)

    def _rows(self, found: ChangeList) -> QuerySet[AIUsage]:
        rows: QuerySet[AIUsage] = found.queryset.order_by().select_related(None)
        return rows


THEMES: tuple[str, ...] = get_args(charts.Theme)


def _periods(found: ChangeList) -> Iterable[dict[str, Any]]:
    """The periods to choose from, each with its address."""
    [spec] = [spec for spec in found.filter_specs if isinstance(spec, PeriodFilter)]
    for value, text in [*spec.lookup_choices, ("all", _("Everything"))]:
        query = found.get_query_string({"period": value}, ["timestamp__", *OF_THE_LIST])
        yield {"query": query, "text": text, "chosen": spec.value() == value}


def _chosen(found: ChangeList, request: HttpRequest) -> Iterable[str]:
    """What the rows are filtered by besides the period, in words."""
    dates = [request.GET.get(f"timestamp__{part}", "") for part in ("year", "month", "day")]
    if any(dates):
        yield "-".join(part.zfill(2) for part in dates if part)
    if found.query:
        yield gettext("search: %s") % found.query
    for spec in found.filter_specs:
        if isinstance(spec, PeriodFilter):
            continue
        chosen = [choice for choice in spec.choices(found) if choice["selected"]]
        if chosen and spec.used_parameters:
            yield f"{spec.title}: {chosen[-1]['display']}"
