"""What can be wrong with a function of the site before anybody calls it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

DUPLICATE: Final = "django_chatgpt.E101"
BAD_NAME: Final = "django_chatgpt.E102"
BAD_SIGNATURE: Final = "django_chatgpt.E103"
NO_HINT: Final = "django_chatgpt.E104"
BAD_HINT: Final = "django_chatgpt.E105"
BAD_PARAMETERS: Final = "django_chatgpt.E106"
BAD_OPTION: Final = "django_chatgpt.E107"
NO_DESCRIPTION: Final = "django_chatgpt.W101"
LONG_DESCRIPTION: Final = "django_chatgpt.W102"

FUNCTION_CHECKS = MappingProxyType(
    {
        DUPLICATE: "Two functions for the model have the same name.",
        BAD_NAME: "A function for the model has a name that providers refuse.",
        BAD_SIGNATURE: "A function for the model can't be called by name, or gives no single result.",
        NO_HINT: "A parameter of a function for the model has no type hint.",
        BAD_HINT: "A type hint of a function for the model has no JSON schema.",
        BAD_PARAMETERS: "The `parameters=` of a function for the model are no JSON schema that fits it.",
        BAD_OPTION: "A function for the model has a malformed permission, requires_approval or timeout.",
        NO_DESCRIPTION: "A function for the model has no description.",
        LONG_DESCRIPTION: "The description of a function for the model is longer than providers accept.",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """One message of the system checks; `where` is the dotted path of the function."""

    check: str
    where: str
    sentence: str
    hint: str = ""

    @property
    def is_error(self) -> bool:
        """Whether the function is kept from the model because of it."""
        return ".E" in self.check
