"""Embedded texts: once per owner, whoever the owner is, and nobody meets another's."""

import uuid
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from django_chatgpt.core.vectors import pack_vector
from django_chatgpt.models import EmbeddingVector
from django_chatgpt.models.owner import OWNER_KEY_LENGTH, owner_key_of
from tests.models import rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User


@pytest.mark.django_db
def test_a_user_has_a_text_once(user: "User", other_user: "User") -> None:
    first = rows.embedding(user=user)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.embedding(user=user)
    second = rows.embedding(user=other_user)
    assert first.content_hash == second.content_hash
    assert list(EmbeddingVector.objects.of_owner(user.pk)) == [first]


@pytest.mark.django_db
def test_the_site_has_a_text_once_too(user: "User") -> None:
    first = rows.embedding(user=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.embedding(user=None)
    rows.embedding(user=user)
    assert list(EmbeddingVector.objects.of_owner(None)) == [first]


@pytest.mark.django_db
def test_another_model_or_size_or_text_is_another_row() -> None:
    rows.embedding()
    rows.embedding(model="text-embedding-3-large")
    rows.embedding(model="Text-Embedding-3-Large")
    rows.embedding(vector=pack_vector([1.0, 2.0]))
    for content in ("hello", "Hello ", "Héllo"):
        rows.embedding(content=content)
    assert EmbeddingVector.objects.count() == 7


@pytest.mark.django_db
def test_bulk_creation_fills_the_keys(user: "User") -> None:
    EmbeddingVector.objects.bulk_create(
        rows.unsaved_embedding(user=owner, content=content)
        for owner in (user, None)
        for content in ("one", "two")
    )
    assert set(EmbeddingVector.objects.values_list("owner_key", "content_hash", "dimensions")) == {
        (key, sha256(text).hexdigest(), 3) for key in (str(user.pk), "") for text in (b"one", b"two")
    }
    again = EmbeddingVector.objects.bulk_create(
        [rows.unsaved_embedding(content="one")], ignore_conflicts=True
    )
    assert len(again) == 1
    assert EmbeddingVector.objects.count() == 4


@pytest.mark.django_db
def test_asynchronous_creation_fills_them_too() -> None:
    async def create() -> None:
        await EmbeddingVector.objects.acreate(content="a", model="m", vector=pack_vector([1.0]))
        await EmbeddingVector.objects.abulk_create([rows.unsaved_embedding(content="b")])

    async_to_sync(create)()
    assert set(EmbeddingVector.objects.values_list("content_hash", "dimensions")) == {
        (sha256(b"a").hexdigest(), 1),
        (sha256(b"b").hexdigest(), 3),
    }


@pytest.mark.django_db
def test_changing_the_text_changes_the_hash() -> None:
    row = rows.embedding()
    row.content = "Goodbye"
    row.save(update_fields=["content"])
    row.refresh_from_db()
    assert row.content_hash == sha256(b"Goodbye").hexdigest()


@pytest.mark.django_db
def test_a_row_says_truly_whether_it_has_an_owner(user: "User") -> None:
    mine, site = rows.embedding(user=user), rows.embedding()
    with pytest.raises(IntegrityError), transaction.atomic():
        EmbeddingVector.objects.filter(pk=mine.pk).update(user=None)
    with pytest.raises(IntegrityError), transaction.atomic():
        EmbeddingVector.objects.filter(pk=site.pk).update(user=user, owner_key="")


@pytest.mark.django_db
def test_the_vector_comes_back_as_numbers_of_unit_length() -> None:
    row = rows.embedding(vector=pack_vector(range(1, 1537)))
    row.refresh_from_db()
    numbers = np.arange(1, 1537) / np.linalg.norm(np.arange(1, 1537))
    assert row.dimensions == 1536
    assert len(bytes(row.vector)) == 1536 * 4
    np.testing.assert_allclose(row.values, numbers, rtol=1e-6)
    row.values = [0.0, 5.0]
    row.save()
    row.refresh_from_db()
    assert row.dimensions == 2
    assert row.values.tolist() == [0.0, 1.0]


@pytest.mark.django_db
@pytest.mark.parametrize("vector", [b"", b"abc", None])
def test_a_cut_vector_is_refused(vector: bytes | None) -> None:
    with pytest.raises(ValueError, match="float32"):
        rows.embedding(vector=vector)
    with pytest.raises(ValidationError) as caught:
        rows.unsaved_embedding(vector=vector).full_clean()
    assert "vector" in caught.value.message_dict


@pytest.mark.django_db
def test_a_whole_row_passes_validation_once(user: "User") -> None:
    rows.unsaved_embedding(user=user).full_clean()
    rows.embedding(user=user)
    with pytest.raises(ValidationError):
        rows.unsaved_embedding(user=user).full_clean()


def test_owner_keys_of_different_users_differ() -> None:
    long = "x" * OWNER_KEY_LENGTH
    owners = [1, "a", "A", uuid.uuid4(), long, long + "x", sha256(long.encode()).hexdigest(), "é" * 200]
    keys = [owner_key_of(owner) for owner in owners]
    assert len(set(keys)) == len(owners)
    assert all(0 < len(key) <= OWNER_KEY_LENGTH for key in keys)
    assert owner_key_of(None) == ""


def test_its_name_says_nothing_of_its_content() -> None:
    row = rows.unsaved_embedding(content="secret")
    row.fill_keys()
    assert str(row) == f"text-embedding-3-small 3 {row.content_hash[:12]}"


@pytest.mark.django_db
def test_what_follows_from_other_columns_follows_in_bulk_too(user: "User", other_user: "User") -> None:
    """Rows given to another user must leave the first one's searches."""
    mine = rows.embedding(user=user)
    EmbeddingVector.objects.filter(pk=mine.pk).update(
        user=other_user, content="Goodbye", vector=pack_vector([1.0, 2.0])
    )
    mine.refresh_from_db()
    assert mine.owner_key == owner_key_of(other_user.pk)
    assert mine.content_hash == sha256(b"Goodbye").hexdigest()
    assert mine.dimensions == 2
    mine.user, mine.content, mine.vector = user, "Back", pack_vector([1.0])
    assert EmbeddingVector.objects.bulk_update([mine], ["user", "content", "vector"]) == 1
    mine.refresh_from_db()
    assert mine.owner_key == owner_key_of(user.pk)
    assert mine.content_hash == sha256(b"Back").hexdigest()
    assert mine.dimensions == 1


@pytest.mark.django_db
def test_a_user_who_lets_go_of_texts_does_not_publish_them(user: "User") -> None:
    rows.embedding(user=user)
    with pytest.raises(IntegrityError), transaction.atomic():
        user.ai_embeddings.clear()
