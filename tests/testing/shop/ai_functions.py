"""What the model of the shop may call."""

from django_chatgpt.functions import ai_function


@ai_function
def stock(article: str) -> int:
    """How many of an article there are.

    Args:
        article: The article's name.
    """
    return {"lamp": 7}.get(article, 0)
