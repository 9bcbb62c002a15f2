"""What a function asks of its arguments: the schema that the model sees, and the check of what it sends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Optional

import jiter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from django_chatgpt.core.schema import Form, Schema, accepts_null, is_strict, provider_form
from django_chatgpt.functions.arguments import ArgumentsError, of_schema, of_validation
from django_chatgpt.functions.problems import BAD_HINT, BAD_PARAMETERS, Problem
from django_chatgpt.functions.signatures import Parameter, Signature

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

MAX_ARGUMENT_BYTES: Final = 1_000_000

EMPTY_FORM: Final = Form(
    {"type": "object", "properties": {}, "required": [], "additionalProperties": False}, True
)


class _Generator(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments that were accepted: by name, defaults filled in. `canonical` is the JSON that was sent,
    in a form that is the same for the same arguments."""

    values: dict[str, Any]
    canonical: str


class Contract:
    """The arguments of one function. Made once; `problems` says why it can't be kept."""

    def __init__(
        self,
        where: str,
        signature: Signature,
        descriptions: Mapping[str, str],
        parameters: Mapping[str, Any] | None,
    ) -> None:
        self.problems = list(signature.problems)
        self.form = EMPTY_FORM
        self._where = where
        self.signature = signature
        self._descriptions = descriptions
        self._by_hand: Schema | None = None
        if not self.problems:
            self._model = self._build()
        if parameters is not None:
            self._take_by_hand(parameters)

    def read(self, text: str) -> Arguments:
        """The arguments in the JSON that a model wrote. Raises ArgumentsError."""
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > MAX_ARGUMENT_BYTES:
            raise ArgumentsError(
                {"": f"The arguments have {len(encoded)} bytes; at most {MAX_ARGUMENT_BYTES} are taken."}
            )
        if encoded.strip() in (b"", b"null"):
            encoded = b"{}"
        try:
            data = jiter.from_json(encoded, allow_inf_nan=False, catch_duplicate_keys=True)
        except ValueError as error:
            raise ArgumentsError({"": f"The arguments are not valid JSON: {error}."}) from None
        if not isinstance(data, dict):
            raise ArgumentsError({"": "The arguments must be a JSON object."})
        if self._by_hand is not None and (violations := list(self._validator.iter_errors(data))):
            raise of_schema(violations)
        try:
            model = self._model.model_validate_json(encoded)
        except ValidationError as error:
            details = error.errors(include_url=False, include_context=False)
            raise of_validation(details, data, list(self._parameters)) from None
        canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return Arguments(self._values(model), canonical)

    @cached_property
    def _parameters(self) -> dict[str, Parameter]:
        return {each.name: each for each in self.signature.parameters}

    @cached_property
    def _validator(self) -> Validator:
        from jsonschema.validators import Draft202012Validator, validator_for
        from referencing import Registry

        schema = self._by_hand
        assert schema is not None
        # An empty registry: a reference to some address is never fetched.
        return validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())

    def _values(self, model: BaseModel) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for number, parameter in enumerate(self.signature.parameters):
            field = f"p{number}"
            value = getattr(model, field)
            given = field in model.model_fields_set
            if not given or (value is None and field in self._null_means_default):
                value = parameter.default
            values[parameter.name] = value
        return values | (model.model_extra or {})

    def _build(self) -> type[BaseModel]:
        """The model that checks the arguments.

        Its fields are numbered and bear the names as aliases: a parameter may be called `json` or `_id`,
        which no field may. Strict mode makes the model send every argument, so one that may be left out
        may be null, and null means its default.
        """
        self._null_means_default: set[str] = set()
        parameters = self.signature.parameters
        try:
            model = self._model_of(parameters)
            schema = _schema(model)
        except Exception as error:
            self.problems.extend(self._culprits(error))
            return BaseModel
        for number, parameter in enumerate(parameters):
            seen = schema["properties"][parameter.name]
            if not parameter.required and not accepts_null(seen, schema.get("$defs", {})):
                self._null_means_default.add(f"p{number}")
        if self._null_means_default:
            model = self._model_of(parameters)
            schema = _schema(model)
        self.form = provider_form(schema)
        return model

    def _model_of(self, parameters: Sequence[Parameter]) -> type[BaseModel]:
        fields: dict[str, Any] = {}
        for number, parameter in enumerate(parameters):
            name, field = parameter.name, FieldInfo.from_annotation(parameter.hint)
            text = field.description or self._descriptions.get(name)
            hint: Any = field.annotation
            if field.discriminator is not None:
                hint = Annotated[hint, Field(discriminator=field.discriminator)]
            for limit in field.metadata:
                hint = Annotated[hint, limit]
            if f"p{number}" in self._null_means_default:
                hint = Optional[hint]  # noqa: UP045 - a value, no annotation
            fields[f"p{number}"] = (
                hint,
                Field(
                    ... if parameter.required else None,
                    alias=name,
                    validation_alias=name,
                    serialization_alias=name,
                    description=text,
                ),
            )
        extra: Literal["allow", "forbid"] = "allow" if self.signature.takes_any_name else "forbid"
        return create_model("Arguments", __config__=ConfigDict(extra=extra, allow_inf_nan=False), **fields)

    def _culprits(self, error: Exception) -> list[Problem]:
        """The parameters because of which there is no model, and why."""
        found = []
        for parameter in self.signature.parameters:
            try:
                _schema(self._model_of([parameter]))
            except Exception as own:
                found.append(self._bad_hint(parameter.name, own))
        return found or [self._bad_hint("its arguments", error)]

    def _bad_hint(self, name: str, error: Exception) -> Problem:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        return Problem(
            BAD_HINT,
            self._where,
            f"has a type hint for {name} that JSON can't say: {reason}.",
            "Take what JSON has, such as the id of an object; ask for the user with the annotation Caller.",
        )

    def _take_by_hand(self, parameters: Mapping[str, Any]) -> None:
        """Let the schema that the developer wrote be the one that the model sees."""
        if not isinstance(parameters, Mapping) or parameters.get("type") != "object":
            self._misfit('are no JSON schema of an object: "type" must be "object".')
            return
        try:
            schema = json.loads(json.dumps(dict(parameters), allow_nan=False))
            self._by_hand = schema
            self._validator.check_schema(schema)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            self._misfit(f"are no JSON schema: {reason}.")
            return
        properties = schema.get("properties") or {}
        known = set(self._parameters)
        for name in properties:
            if name in self.signature.callers:
                self._misfit(f"name {name}, which only the site may give.")
            elif name not in known and not self.signature.takes_any_name:
                self._misfit(f"name {name}, which the function does not take.")
        for parameter in self.signature.parameters:
            if parameter.required and parameter.name not in properties:
                self._misfit(f"leave out {parameter.name}, without which the function can't be called.")
        self.form = Form(schema, is_strict(schema))

    def _misfit(self, sentence: str) -> None:
        self.problems.append(Problem(BAD_PARAMETERS, self._where, f"has `parameters=` that {sentence}"))


def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema(by_alias=True, schema_generator=_Generator)
