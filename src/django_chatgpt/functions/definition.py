"""A function of the site as the model may call it."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

from asgiref.sync import iscoroutinefunction

from django_chatgpt.conf import conf
from django_chatgpt.exceptions import without_text
from django_chatgpt.functions.contracts import Contract
from django_chatgpt.functions.docstrings import Described, described
from django_chatgpt.functions.problems import (
    BAD_NAME,
    BAD_OPTION,
    LONG_DESCRIPTION,
    NO_DESCRIPTION,
    Problem,
)
from django_chatgpt.functions.signatures import read_signature

Permission = str | Callable[[Any], bool] | None
RequiresApproval = bool | Callable[[dict[str, Any]], bool]

MAX_DESCRIPTION: Final = 1024

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PERMISSION: Final = re.compile(r"\w+\.\w+")

logger = logging.getLogger("django_chatgpt.functions")


@dataclass(frozen=True, eq=False)
class Function:
    """A function and what it is called with.

    `call` may be a coroutine function. Without `parameters`, a JSON schema of an object, the arguments come
    from its signature. `permission` is "app.codename" or is asked with the user, None where the site itself
    asks. `requires_approval` may be asked with the arguments; whoever has `approval_permission` decides,
    the asker where there is none; without `self_approval` never the asker. `timeout` is in seconds; None is
    OPENAI_TOOL_TIMEOUT. Nothing is looked into before it is needed: `problems` tells what is wrong.
    """

    name: str
    call: Callable[..., Any]
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    permission: Permission = None
    requires_approval: RequiresApproval = False
    timeout: float | None = None
    approval_permission: str | None = None
    self_approval: bool = True

    @classmethod
    def of(cls, function: Function | Callable[..., Any]) -> Function:
        """The definition of a function: the one that `ai_function` gave it, else one from its signature."""
        if isinstance(function, Function):
            return function
        known = getattr(function, "ai_function", None)
        return known if isinstance(known, Function) else cls(name_of(function), function)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it as the site's own code does: nothing is checked."""
        return self.call(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Function {self.name}: {self.implementation}>"

    @property
    def implementation(self) -> str:
        """The dotted path of the code; information for people."""
        inner: Any = self.call
        while isinstance(inner, partial):
            inner = inner.func
        owner = inner if hasattr(inner, "__qualname__") else type(inner)
        return f"{owner.__module__}.{owner.__qualname__}"

    @property
    def schema(self) -> dict[str, Any]:
        """What the model is told: {"name", "description", "parameters", "strict"}."""
        form = self.contract.form
        return {
            "name": self.name,
            "description": self.text,
            "parameters": deepcopy(form.schema),
            "strict": form.strict,
        }

    @cached_property
    def text(self) -> str:
        """The description, from the docstring where none was given."""
        return (self._described.text if self.description is None else self.description).strip()

    @cached_property
    def contract(self) -> Contract:
        signature = read_signature(self.call, self.implementation, has_schema=self.parameters is not None)
        return Contract(self.implementation, signature, self._described.parameters, self.parameters)

    @cached_property
    def callers(self) -> tuple[str, ...]:
        """The parameters that are given the Caller."""
        return tuple(self.contract.signature.callers)

    @cached_property
    def is_async(self) -> bool:
        inner: Any = self.call
        while isinstance(inner, partial):
            inner = inner.func
        return bool(iscoroutinefunction(inner) or iscoroutinefunction(getattr(inner, "__call__", None)))  # noqa: B004

    @cached_property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with it; with an error among it, it is kept from the model."""
        return (*self._wrong_options(), *self.contract.problems, *self._wrong_text())

    @property
    def seconds(self) -> float:
        """How long it may take."""
        return float(conf.tool_timeout if self.timeout is None else self.timeout)

    @property
    def is_usable(self) -> bool:
        return not any(problem.is_error for problem in self.problems)

    def allows(self, user: Any) -> bool:
        """Whether this user may call it; nobody's permission is that of nobody. May use the database."""
        if self.permission is None:
            return True
        if isinstance(self.permission, str):
            return user is not None and bool(user.has_perm(self.permission))
        try:
            return bool(self.permission(user))
        except Exception as error:
            problem = "The permission of function %s can't be told; it is refused."
            logger.error(problem, self.name, exc_info=without_text(error))
            return False

    def needs_approval(self, arguments: dict[str, Any]) -> bool:
        """Whether a person has to decide. Where that can't be told, one has to."""
        if isinstance(self.requires_approval, bool):
            return self.requires_approval
        try:
            return bool(self.requires_approval(dict(arguments)))
        except Exception as error:
            problem = "Whether function %s needs an approval can't be told; it does."
            logger.error(problem, self.name, exc_info=without_text(error))
            return True

    def decides_for_others(self, user: Any) -> bool:
        """Whether this user may decide about calls in other people's turns."""
        permission = self.approval_permission
        return permission is not None and bool(user.has_perm(permission))

    def may_decide(self, user: Any, asker: Any) -> bool:
        """Whether this user may decide about a call in the turn that `asker` began."""
        if asker is not None and asker.pk == user.pk and not self.self_approval:
            return False
        if self.approval_permission is not None:
            return bool(user.has_perm(self.approval_permission))
        return asker is not None and asker.pk == user.pk and self.allows(user)

    def fingerprint(self, canonical: str) -> str:
        """64 hexadecimal digits that stand for this function, its schema and these arguments."""
        bound = [self.name, self.contract.form.schema, canonical]
        return hashlib.sha256(json.dumps(bound, sort_keys=True).encode()).hexdigest()

    @cached_property
    def _described(self) -> Described:
        return described(self.call)

    def _wrong_options(self) -> Iterator[Problem]:
        where = self.implementation
        if not _NAME.fullmatch(self.name):
            yield Problem(
                BAD_NAME,
                where,
                f"is called {self.name!r}.",
                "A name has 1 to 64 of the characters a-z, A-Z, 0-9, _ and -; give another by `name=`.",
            )
        if isinstance(self.permission, str):
            if not _PERMISSION.fullmatch(self.permission):
                yield Problem(
                    BAD_OPTION, where, f"has permission={self.permission!r}.", 'Write "app_label.codename".'
                )
        elif self.permission is not None and not _is_plain(self.permission):
            yield Problem(
                BAD_OPTION,
                where,
                "has a `permission=` that can't be asked.",
                'Give "app_label.codename" or a plain function that takes the user.',
            )
        if not isinstance(self.requires_approval, bool) and not _is_plain(self.requires_approval):
            yield Problem(
                BAD_OPTION,
                where,
                "has a `requires_approval=` that can't be asked.",
                "Give True, False or a plain function that takes the arguments as a dict.",
            )
        approval: object = self.approval_permission
        if approval is not None and not (isinstance(approval, str) and _PERMISSION.fullmatch(approval)):
            yield Problem(
                BAD_OPTION,
                where,
                f"has approval_permission={approval!r}.",
                'Write "app_label.codename".',
            )
        if not isinstance(self.self_approval, bool):
            yield Problem(
                BAD_OPTION, where, f"has self_approval={self.self_approval!r}.", "Give True or False."
            )
        elif not self.self_approval and approval is None:
            yield Problem(
                BAD_OPTION,
                where,
                "has self_approval=False, and nobody else may approve it.",
                'Say who by `approval_permission="app_label.codename"`.',
            )
        if self.timeout is not None and not _is_duration(self.timeout):
            yield Problem(
                BAD_OPTION, where, f"has timeout={self.timeout!r}.", "Give seconds above 0, or None."
            )

    def _wrong_text(self) -> Iterator[Problem]:
        where = self.implementation
        if not self.text:
            yield Problem(
                NO_DESCRIPTION,
                where,
                "has no description, so the model can only guess what it is for.",
                "Write a docstring.",
            )
        elif len(self.text) > MAX_DESCRIPTION:
            yield Problem(
                LONG_DESCRIPTION,
                where,
                f"has a description of {len(self.text)} characters.",
                f"Some providers refuse more than {MAX_DESCRIPTION}; give a shorter one by `description=`.",
            )


def name_of(function: Callable[..., Any]) -> str:
    """The name that a callable has of its own; "" for one without."""
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__name__", ""))


def _is_plain(function: object) -> bool:
    return callable(function) and not iscoroutinefunction(function)


def _is_duration(value: object) -> bool:
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    )
