"""What can be wrong with an index of the site before anybody searches it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DUPLICATE: Final = "django_chatgpt.E201"
BAD_NAME: Final = "django_chatgpt.E202"
BAD_SOURCE: Final = "django_chatgpt.E203"
BAD_TEXT: Final = "django_chatgpt.E204"
BAD_OPTION: Final = "django_chatgpt.E205"
BAD_KEY: Final = "django_chatgpt.E206"

INDEX_CHECKS = MappingProxyType(
    {
        DUPLICATE: "Two indexes have the same name.",
        BAD_NAME: "The name of an index has other characters than letters, digits, hyphens and underscores.",
        BAD_SOURCE: "An index is made of something else than a model or a queryset that can be narrowed.",
        BAD_TEXT: "An index has neither fields nor a callable for its text, or both, or an unknown field.",
        BAD_OPTION: "An index has a malformed chunk_tokens, overlap or for_user.",
        BAD_KEY: "The primary key of an indexed model is no number, UUID or text of at most 255 characters.",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One message of the system checks; `where` says which index, and where it was registered."""

    check: str
    where: str
    sentence: str
