"""Objects found by meaning: only those allowed are ranked, each once with its best passage."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.db.models import Count
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from django_chatgpt.exceptions import InvalidRequestError, RateLimitedError
from django_chatgpt.indexes import Index
from django_chatgpt.models import AIConfiguration, AIUsage, EmbeddingVector
from django_chatgpt.services import EmbeddingService, IndexService, Passage, indexing
from django_chatgpt.testing import FakeOpenAI
from tests.indexes.conftest import Register, add
from tests.services.conftest import Async, Sync

pytestmark = pytest.mark.django_db

Colour = Sync | Async

PROMPTS = {
    "lions": "lions hunt at night",
    "cats": "cats sleep by day",
    "hounds": "hounds hunt by day",
    "stones": "stones do not move",
}


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Sync() if request.param == "sync" else Async()


@pytest.fixture
def rows(index: Index, fake_openai: FakeOpenAI) -> dict[str, AIConfiguration]:
    made = {name: add(name, prompt) for name, prompt in PROMPTS.items()}
    indexing.build(index, lambda number: None)
    return made


def search(colour: Colour, user: Any, query: str, **options: Any) -> list[Passage]:
    found: list[Passage] = colour.call(IndexService(user), "search", query, "prompts", **options)
    return found


def names(found: list[Passage]) -> list[str]:
    return [each.object.name for each in found]


def test_objects_come_by_similarity(colour: Colour, user: User, rows: dict[str, AIConfiguration]) -> None:
    found = search(colour, user, "what do lions hunt at night")
    assert names(found)[0] == "lions"
    assert len(found) == 4
    similarities = [each.similarity for each in found]
    assert similarities == sorted(similarities, reverse=True)
    assert (found[0].index, found[0].number, found[0].text) == ("prompts", 0, "lions\n\nlions hunt at night")
    assert found[0].key == rows["lions"].pk.hex
    assert "lions" not in repr(found[0])
    assert search(colour, user, "what do lions hunt at night", top_k=2) == found[:2]
    assert search(colour, user, "lions", threshold=0.99) == []


def test_the_question_is_the_users_and_paid_once(user: User, rows: dict[str, AIConfiguration]) -> None:
    IndexService(user).search("lions", "prompts")
    IndexService(user).search("lions", "prompts")
    assert AIUsage.objects.filter(user=user).count() == 1
    assert not EmbeddingVector.objects.filter(user=user).exists()


def test_only_what_the_queryset_allows_is_ranked(user: User, rows: dict[str, AIConfiguration]) -> None:
    allowed = AIConfiguration.objects.exclude(name="lions")
    found = IndexService(user).search("lions hunt", "prompts", queryset=allowed, top_k=1)
    assert names(found) == ["hounds"]
    assert IndexService(user).search("lions", "prompts", queryset=AIConfiguration.objects.none()) == []


def test_objects_are_as_the_queryset_gives_them(user: User, rows: dict[str, AIConfiguration]) -> None:
    counted = AIConfiguration.objects.annotate(talks=Count("conversations")).order_by("-name")
    [found] = IndexService(user).search("lions", "prompts", queryset=counted, top_k=1)
    assert found.object.talks == 0


@pytest.mark.parametrize("kind", ["sliced", "union", "values"])
def test_querysets_that_can_not_be_narrowed_are_read_for_their_keys(
    kind: str, user: User, rows: dict[str, AIConfiguration]
) -> None:
    all_rows = AIConfiguration.objects.all()
    queryset = {
        "sliced": all_rows.order_by("name")[:2],
        "union": all_rows.filter(name="cats").union(all_rows.filter(name="hounds")),
        "values": all_rows.filter(name__in=["cats", "hounds"]).values("name"),
    }[kind]
    found = IndexService(user).search("lions", "prompts", queryset=queryset)
    assert sorted(names(found)) == ["cats", "hounds"]


def test_the_indexs_own_queryset_holds_before_the_index_has_noticed(
    user: User, rows: dict[str, AIConfiguration]
) -> None:
    AIConfiguration.objects.filter(name="lions").update(is_active=False)
    found = IndexService(user).search("lions", "prompts", queryset=AIConfiguration.objects.all())
    assert "lions" not in names(found)


def test_an_object_that_shares_its_text_with_a_forbidden_one(user: User, register: Register) -> None:
    index = register("twins", AIConfiguration, fields=["system_prompt"])
    with FakeOpenAI() as fake, fake.settings():
        mine, theirs = add("mine", "the same"), add("theirs", "the same")
        indexing.build(index, lambda number: None)
        only_mine = AIConfiguration.objects.filter(pk=mine.pk)
        [found] = IndexService(user).search("the same", index, queryset=only_mine)
        assert found.object == mine
        both = IndexService(user).search("the same", index)
        assert {each.object for each in both} == {mine, theirs}


def test_who_may_find_what_is_asked_of_the_index(
    user: User, other_user: User, register: Register, fake_openai: FakeOpenAI
) -> None:
    index = register(
        "groups",
        Group,
        fields=["name"],
        for_user=lambda user: Group.objects.filter(user=user) if user else Group.objects.none(),
    )
    ours, theirs = Group.objects.create(name="ours"), Group.objects.create(name="theirs")
    user.groups.add(ours)
    other_user.groups.add(theirs)
    indexing.build(index, lambda number: None)
    for who, found in [(user, [ours]), (other_user, [theirs]), (None, [])]:
        assert [each.object for each in IndexService(who).search("theirs", index)] == found
    everything = Group.objects.all()
    assert [each.object for each in IndexService(user).search("theirs", index, queryset=everything)] == [ours]


def test_other_vectors_of_the_site_are_not_found(user: User, rows: dict[str, AIConfiguration]) -> None:
    EmbeddingService().create_embedding("lions hunt")
    found = IndexService(user).search("lions hunt", "prompts")
    assert len(found) == 4
    assert names(found)[0] == "lions"


def test_an_object_comes_once_or_as_often_as_is_wanted(
    user: User, register: Register, fake_openai: FakeOpenAI
) -> None:
    index = register("long", AIConfiguration, fields=["system_prompt"], chunk_tokens=8, overlap=0)
    add(
        "many", "\n\n".join(f"Lions hunt in {place}." for place in ("Kenya", "Chad", "Mali", "Togo", "Niger"))
    )
    add("few", "Lions sleep.")
    indexing.build(index, lambda number: None)

    def found(**options: Any) -> list[tuple[str, int]]:
        passages = IndexService(user).search("Lions hunt in", index, **options)
        return [(each.object.name, each.number) for each in passages]

    assert [name for name, _ in found(top_k=2)] == ["many", "few"]
    assert [name for name, _ in found(top_k=3, per_object=2)] == ["many", "many", "few"]
    every = found(per_object=None)
    assert [name for name, _ in every] == ["many"] * 5 + ["few"]
    assert sorted(number for name, number in every if name == "many") == [0, 1, 2, 3, 4]


def test_the_search_goes_on_until_there_are_enough_objects(
    user: User, register: Register, fake_openai: FakeOpenAI
) -> None:
    index = register("long", AIConfiguration, fields=["system_prompt"], chunk_tokens=5, overlap=0)
    add("many", "\n\n".join(f"Lions hunt {number}." for number in range(30)))
    add("few", "Stones rest.")
    indexing.build(index, lambda number: None)
    found = IndexService(user).search("Lions hunt", index, top_k=2)
    assert [each.object.name for each in found] == ["many", "few"]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("index", {"index": "unknown"}),
        ("queryset", {"queryset": Group.objects.all()}),
        ("queryset", {"queryset": [1]}),
        ("per_object", {"per_object": 0}),
        ("top_k", {"top_k": 0}),
        ("threshold", {"threshold": 2}),
        ("query", {"query": " "}),
    ],
)
def test_what_can_not_be_searched_is_named(
    field: str, options: dict[str, Any], user: User, rows: dict[str, AIConfiguration]
) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        IndexService(user).search(**{"query": "lions", "index": "prompts", **options})
    assert list(caught.value.fields) == [field]


def test_searches_are_counted_by_the_rate_limits(
    user: User, rows: dict[str, AIConfiguration], settings: Settings
) -> None:
    settings.OPENAI_RATE_LIMITS = {"user": "1/m"}
    IndexService(user).search("lions", "prompts")
    with pytest.raises(RateLimitedError):
        IndexService(user).search("lions", "prompts")


def test_another_model_finds_as_soon_as_its_vectors_are_there(
    user: User, rows: dict[str, AIConfiguration], settings: Settings
) -> None:
    settings.OPENAI_EMBEDDING_MODEL = "text-embedding-3-large"
    assert IndexService(user).search("lions", "prompts") == []
    EmbeddingService().create_embeddings_batch([f"{name}\n\n{prompt}" for name, prompt in PROMPTS.items()])
    assert names(IndexService(user).search("what do lions hunt", "prompts"))[0] == "lions"


def test_the_queries_do_not_grow_with_what_is_found(user: User, rows: dict[str, AIConfiguration]) -> None:
    IndexService(user).search("lions", "prompts")

    def queries(top_k: int) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert len(IndexService(user).search("lions", "prompts", top_k=top_k)) == top_k
        return len(captured)

    assert queries(1) == queries(4) <= 9


def test_a_service_shows_no_more_than_the_key(user: User) -> None:
    assert repr(IndexService(user)) == f"<IndexService user={user.pk}>"
    assert repr(IndexService()) == "<IndexService user=None>"
