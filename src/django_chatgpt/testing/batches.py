"""The Files and Batch endpoints: embeddings that are answered later, out of order, at half price."""

import email
import email.policy
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import jiter
from pydantic_core import to_json

from django_chatgpt.testing import embeddings, parameters
from django_chatgpt.testing.errors import Refusal, invalid, missing, wrong_value
from django_chatgpt.testing.frames import new_id

Ending: TypeAlias = Literal["completed", "failed", "expired"]

MAX_LINES: Final = 50_000
_PURPOSE: Final = "batch"
_ENDPOINT: Final = "/v1/embeddings"
_WINDOW: Final = "24h"
_CREATED: Final = 1_790_000_000
_DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a batch: its `ends`, after so many `polls` that find it in progress.

    The texts in `fails` are refused. Of one that expires only the first `answered` lines have an answer.
    """

    ends: Ending = "completed"
    polls: int = 0
    fails: Collection[str] = ()
    answered: int = 0


@dataclass(slots=True)
class Batch:
    """One batch and how often it was asked after."""

    id: str
    input_file: str
    metadata: Any
    plan: Plan
    status: str = "validating"
    polls: int = 0
    output_file: str | None = None
    error_file: str | None = None
    total: int = 0
    done: int = 0
    failed: int = 0
    tokens: int = 0

    @property
    def over(self) -> bool:
        return self.status in ("completed", "failed", "expired", "cancelled")

    def body(self) -> dict[str, Any]:
        errors = [{"code": "invalid_request", "message": "The file can't be used.", "line": 1, "param": None}]
        return {
            "id": self.id,
            "object": "batch",
            "endpoint": _ENDPOINT,
            "errors": {"object": "list", "data": errors} if self.status == "failed" else None,
            "input_file_id": self.input_file,
            "completion_window": _WINDOW,
            "status": self.status,
            "output_file_id": self.output_file,
            "error_file_id": self.error_file,
            "created_at": _CREATED,
            "expires_at": _CREATED + _DAY,
            "request_counts": {"total": self.total, "completed": self.done, "failed": self.failed},
            "metadata": self.metadata,
        }


@dataclass(slots=True)
class Batches:
    """The files and batches of one fake."""

    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    plans: list[Plan] = field(default_factory=list)

    def clear(self) -> None:
        self.files.clear()
        self.batches.clear()
        self.plans.clear()

    def upload(self, content_type: str, body: bytes) -> dict[str, Any]:
        """Keep an uploaded file; Refusal where it is none, or not for a batch."""
        head = f"Content-Type: {content_type}\r\n\r\n".encode()
        form = email.message_from_bytes(head + body, policy=email.policy.HTTP)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        if "file" not in parts:
            raise missing("file")
        purpose = str(parts["purpose"].get_payload()).strip() if "purpose" in parts else ""
        if purpose != _PURPOSE:
            raise wrong_value("purpose", purpose, [_PURPOSE])
        payload = parts["file"].get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        file_id = self._keep(content)
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": _CREATED,
            "filename": parts["file"].get_filename() or "",
            "purpose": _PURPOSE,
            "status": "processed",
        }

    def content(self, file_id: str) -> bytes:
        if file_id not in self.files:
            raise invalid(f"No such File object: {file_id}", "id", None, 404)
        return self.files[file_id]

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Begin a batch; what is in its file is looked at later."""
        for name in ("input_file_id", "endpoint", "completion_window"):
            if name not in body:
                raise missing(name)
        if body["endpoint"] != _ENDPOINT:
            raise wrong_value("endpoint", body["endpoint"], [_ENDPOINT])
        if body["completion_window"] != _WINDOW:
            raise wrong_value("completion_window", body["completion_window"], [_WINDOW])
        self.content(body["input_file_id"])
        plan = self.plans.pop(0) if self.plans else Plan()
        made = Batch(new_id("batch_"), body["input_file_id"], body.get("metadata"), plan)
        self.batches[made.id] = made
        return made.body()

    def listing(self) -> dict[str, Any]:
        newest = [batch.body() for batch in reversed(self.batches.values())]
        return {"object": "list", "data": newest, "has_more": False}

    def poll(self, batch_id: str) -> Batch:
        """How a batch stands; being asked after is what brings it on."""
        batch = self._find(batch_id)
        if not batch.over:
            if batch.status == "cancelling":
                self._answer(batch, "cancelled", batch.plan.answered)
            elif batch.polls < batch.plan.polls:
                batch.polls += 1
                batch.status = "in_progress"
            elif batch.plan.ends == "failed":
                batch.status = "failed"
            else:
                known = batch.plan.answered if batch.plan.ends == "expired" else MAX_LINES
                self._answer(batch, batch.plan.ends, known)
        return batch

    def cancel(self, batch_id: str) -> dict[str, Any]:
        batch = self._find(batch_id)
        if batch.over:
            raise invalid(f"Cannot cancel a batch with status '{batch.status}'.", None, None, 409)
        batch.status = "cancelling"
        return batch.body()

    def _find(self, batch_id: str) -> Batch:
        if batch_id not in self.batches:
            raise invalid(f"No batch found with id '{batch_id}'.", None, None, 404)
        return self.batches[batch_id]

    def _answer(self, batch: Batch, status: str, known: int) -> None:
        """Write the files of a batch that is over, the last line first."""
        lines = [jiter.from_json(line) for line in self.content(batch.input_file).splitlines() if line]
        if len(lines) > MAX_LINES or len({line["custom_id"] for line in lines}) != len(lines):
            batch.status = "failed"
            return
        answers: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for place, line in enumerate(lines):
            if place < known:
                code, body = self._line(batch, line["body"])
                response = {"status_code": code, "request_id": new_id("req_"), "body": body}
                said: dict[str, Any] = {"response": response, "error": None}
            else:
                code = 0
                why = {"code": f"batch_{status}", "message": "This request could not be executed."}
                said = {"response": None, "error": why}
            told = {"id": new_id("batch_req_"), "custom_id": line["custom_id"], **said}
            (answers if code == 200 else errors).append(told)
        batch.status, batch.total = status, len(lines)
        batch.done, batch.failed = len(answers), len(errors)
        batch.output_file, batch.error_file = self._written(answers), self._written(errors)

    def _line(self, batch: Batch, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            given = body.get("input")
            if any(text in batch.plan.fails for text in (given if isinstance(given, list) else [given])):
                raise invalid("'$.input' is invalid.")
            answer = embeddings.answer(body, parameters.check_model(body, None))
        except Refusal as refusal:
            failure = refusal.failure
            error = {"message": failure.message, "type": failure.type, "param": None, "code": failure.code}
            return failure.status, {"error": error}
        batch.tokens += answer["usage"]["prompt_tokens"]
        return 200, answer

    def _written(self, lines: list[dict[str, Any]]) -> str | None:
        return self._keep(b"".join(to_json(line) + b"\n" for line in reversed(lines))) if lines else None

    def _keep(self, content: bytes) -> str:
        file_id = new_id("file-")
        self.files[file_id] = content
        return file_id
