"""The example's own tables in the admin."""

from django.contrib import admin

from example.models import Book, HelpArticle, Postcard


@admin.register(Book)
class BookAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # it takes its type for checkers only
    list_display = ("title", "author", "year")
    search_fields = ("title", "author", "summary")


@admin.register(HelpArticle)
class HelpArticleAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # it takes its type for checkers only
    list_display = ("title", "public")
    list_filter = ("public",)
    search_fields = ("title", "body")


@admin.register(Postcard)
class PostcardAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # it takes its type for checkers only
    list_display = ("recipient", "greeting", "sender", "sent_at")
    list_select_related = ("sender",)
