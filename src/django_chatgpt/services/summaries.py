"""Whether, of what and in how many words a summary is made of what a conversation has no room for any more.

One that is made covers more than is left out by then: the oldest quarter of what is still sent, too. So it
has to be extended only when that much more was said, and nothing is ever left out that it does not cover.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from uuid import UUID

from django_chatgpt.conf import conf
from django_chatgpt.core.request import ModelRequest
from django_chatgpt.core.summary import Summary, SummaryDue, summary_messages
from django_chatgpt.core.window import Window
from django_chatgpt.services import access, context, tokens
from django_chatgpt.storage import summaries as storage
from django_chatgpt.storage.turns import OpenedTurn

logger = logging.getLogger("django_chatgpt.turns")

AHEAD = 4  # the part of what is still sent that is summed up as well
AHEAD_AT_LEAST = 6  # messages
MOST_TOKENS, LEAST_TOKENS = 600, 40
WORDS_PER_TOKEN = 0.6
LINE_CHARACTERS, LINE_TOKENS = 2_000, 500
# Read beyond that, so that what is to be redacted is not cut in two before it is.
MARGIN = 500
ANSWER_TOKENS = 2_048  # of which a reasoning model thinks with most
MAX_SECONDS = 30.0


def known(conversation_id: UUID | None, window: Window, question_tokens: int) -> Summary | None:
    """The summary that goes with a question: None where the site wants none, or it would not fit."""
    if not conf.summarize_history or conversation_id is None:
        return None
    summary = storage.find(conversation_id)
    if summary is None or context.count(summary.line) > _free(window, question_tokens):
        return None
    return summary


def with_summary(window: Window, summary: Summary | None) -> Window:
    """The window, of which the summary has used its part."""
    return window if summary is None else replace(window, used=window.used + context.count(summary.line))


def is_due(dropped: int, summary: Summary | None) -> bool:
    """Whether a summary is to be made where the message number `dropped` is the last that is left out."""
    return dropped > (0 if summary is None else summary.covers) and conf.summarize_history


def due(
    opened: OpenedTurn,
    summary: Summary | None,
    request: ModelRequest,
    window: Window,
    question_tokens: int,
    place: int,
) -> SummaryDue | None:
    """What is to be asked before the question of an opened turn, None if nothing is.

    Of the `window` only what the site tells the model has used its part; `place` is behind that. A summary
    that can't be asked for is logged and not made: no question fails for it.
    """
    if not is_due(opened.dropped, summary):
        return None
    try:
        return _due(opened, summary, request, window, question_tokens, place)
    except Exception as error:
        logger.warning("turn %s goes without a summary: %s", opened.turn_id, type(error).__name__)
        return None


def _due(
    opened: OpenedTurn,
    summary: Summary | None,
    request: ModelRequest,
    window: Window,
    question_tokens: int,
    place: int,
) -> SummaryDue | None:
    most = min(MOST_TOKENS, window.room // 8, _free(window, question_tokens) // 2)
    if most < LEAST_TOKENS:
        return None
    last = opened.next_sequence - 2
    covers = min(last, opened.dropped + max(AHEAD_AT_LEAST, (last - opened.dropped) // AHEAD))
    words = int(most * WORDS_PER_TOKEN)
    left = window.room - sum(map(context.count, summary_messages(summary, (), words)))
    if left < 4 * LEAST_TOKENS:
        return None
    longest = min(LINE_TOKENS, left // 4)
    lines = []
    after = summary.covers if summary is not None else 0
    for line in access.redacted(
        storage.said(opened.conversation_id, after, covers, LINE_CHARACTERS + MARGIN)
    ):
        start, _ = tokens.cut_text(line["content"][:LINE_CHARACTERS], tokens.ANY_MODEL, longest)
        line = {**line, "content": start}
        left -= context.count(line)
        if left < 0:
            break
        lines.append(line)
    if not lines:
        return None
    answer = min(ANSWER_TOKENS, request.max_output_tokens or ANSWER_TOKENS)
    asked = ModelRequest(
        endpoint=request.endpoint,
        model=request.model,
        messages=summary_messages(summary, lines[::-1], words),
        max_output_tokens=context.longest_answer(request.model, answer),
        safety_identifier=request.safety_identifier,
        timeout=min(float(conf.timeout), MAX_SECONDS),
    )
    return SummaryDue(asked, covers, most, place, replaces=summary is not None)


def _free(window: Window, question_tokens: int) -> int:
    """The tokens that are left for what was said before a question."""
    return window.room - window.used - tokens.PER_MESSAGE - question_tokens
