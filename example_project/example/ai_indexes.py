"""What is found by meaning on this site: the public pages of the help desk."""

from django_chatgpt.indexes import register_index
from example.models import HelpArticle

help_pages = register_index(
    "help", HelpArticle.objects.filter(public=True), fields=["title", "body"], chunk_tokens=200, overlap=20
)
