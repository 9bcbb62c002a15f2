"""Many conversations archived, deleted or exported, in pieces that may be stopped and done again.

Those of one user, or of anybody where none is named: who may do that is for the caller to know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from tempfile import TemporaryFile
from typing import Any, Final, Literal, get_args
from uuid import UUID

from django.core.files import File
from django.core.files.storage import InvalidStorageError, Storage, storages
from django.db.models import Q

from django_chatgpt.exceptions import InvalidRequestError
from django_chatgpt.models import AIConversation
from django_chatgpt.services.export import pieces_of_conversation
from django_chatgpt.storage import retention
from django_chatgpt.storage.primary import primary

Action = Literal["archive", "delete", "export"]
Progress = Callable[[int], object]

AT_ONCE: Final = 100
MOST: Final = 10_000
FOLDER: Final = "django_chatgpt/conversations"


def process(
    action: str,
    ids: Sequence[UUID],
    *,
    user_id: Any = None,
    storage: str | None = None,
    progress: Progress | None = None,
) -> list[UUID]:
    """Do it to those of the conversations that there are; those that it was done to.

    Left alone are those of another user, and for all but an export those that a turn holds. An export writes
    FOLDER/<id>.json to a storage of STORAGES, which must be named, as it must show them to nobody else; what
    is there of that name is overwritten. Raises InvalidRequestError.
    """
    if action not in get_args(Action):
        raise InvalidRequestError(fields={"action": 'must be "archive", "delete" or "export".'})
    if len(ids) > MOST:
        raise InvalidRequestError(fields={"conversation_ids": f"are too many; at most {MOST} are taken."})
    where = _storage(storage) if action == "export" else None
    whose = Q() if user_id is None else Q(user_id=user_id)
    done: list[UUID] = []
    for start in range(0, len(ids), AT_ONCE):
        rows = AIConversation.objects.using(primary()).filter(whose, pk__in=ids[start : start + AT_ONCE])
        keys = list(rows.order_by("pk").values_list("pk", flat=True))
        if where is not None:
            for key in keys:
                _export(key, where)
        elif action == "archive":
            retention.archive(keys, whose)
            keys = list(rows.filter(pk__in=keys, is_active=False).values_list("pk", flat=True))
        else:
            retention.delete_conversations(keys, whose)
            left = set(rows.filter(pk__in=keys).values_list("pk", flat=True))
            keys = [key for key in keys if key not in left]
        done += keys
        if progress is not None:
            progress(len(keys))
    return done


def _storage(name: str | None) -> Storage:
    if name is None:
        raise InvalidRequestError(fields={"storage": "must be a name of STORAGES."})
    try:
        return storages[name]
    except InvalidStorageError:
        raise InvalidRequestError(fields={"storage": f"{name} is no name of STORAGES."}) from None


def _export(conversation_id: UUID, storage: Storage) -> None:
    name = f"{FOLDER}/{conversation_id}.json"
    with TemporaryFile("w+b") as file:
        for piece in pieces_of_conversation(conversation_id):
            file.write(piece.encode())
        file.seek(0)
        if storage.exists(name):
            storage.delete(name)
        saved = storage.save(name, File(file))
    # Somebody else has written the same conversation at the same moment: theirs has the name.
    if saved != name and storage.exists(name):
        storage.delete(saved)
