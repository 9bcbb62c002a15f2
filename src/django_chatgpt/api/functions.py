"""functions/: what the model may call for this user, and calling it without a model."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from ninja import Router

from django_chatgpt.api.auth import SessionLogin
from django_chatgpt.api.schemas import ErrorOut, ExecuteIn, ExecuteOut, FunctionList
from django_chatgpt.services import functions as service

router = Router(tags=["functions"], auth=SessionLogin())

REFUSED = {401: ErrorOut, 403: ErrorOut}


@router.get("functions/", response={200: FunctionList, **REFUSED}, url_name="functions")
def list_functions(request: HttpRequest) -> Any:
    """The functions that the model may call on your behalf, as it is told of them."""
    schemas = service.schemas_for(request.user)
    return {"functions": schemas, "count": len(schemas)}


@router.post(
    "functions/execute/",
    response={
        200: ExecuteOut,
        400: ErrorOut,
        404: ErrorOut,
        429: ErrorOut,
        500: ErrorOut,
        504: ErrorOut,
        **REFUSED,
    },
    url_name="execute_function",
)
def execute_function(request: HttpRequest, data: ExecuteIn) -> Any:
    """Call a function as the model would: the same permission, the same checks, the same time limit."""
    result = service.execute(request.user, data.function_name, data.arguments)
    return {
        "function_name": data.function_name,
        "arguments": data.arguments,
        "result": result,
        "status": "completed",
    }
