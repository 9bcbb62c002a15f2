"""What is misconfigured for this deployment, and how to mend it: subjects, each looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from django.db import Error as AnyDatabaseError

from django_chatgpt.services.doctor import (
    cache,
    database,
    mail,
    models,
    provider,
    servers,
    settings,
    vectors,
    vocabulary,
    workers,
)
from django_chatgpt.services.doctor.finding import Diagnosis, Finding, Level, Server, Site

__all__ = ["DIAGNOSES", "Diagnosis", "Finding", "Level", "Server", "Site", "diagnose"]

#: The ids are for scripts: they keep their meaning.
DIAGNOSES = (
    Diagnosis("settings", "Every setting, function and index is well-formed.", settings.look),
    Diagnosis("key", "There is a key, or an adapter that may bring one.", settings.key),
    Diagnosis("server", "Streams suit the server.", servers.server),
    Diagnosis("gzip", "Nothing packs what is streamed.", servers.gzip),
    Diagnosis("middleware", "All middleware suits the server.", servers.middleware),
    Diagnosis("migrations", "All migrations are applied.", database.migrations),
    Diagnosis("connections", "Database connections end with their requests.", database.conn_max_age),
    Diagnosis("sqlite", "The database takes writes from this many processes.", database.sqlite),
    Diagnosis("turns", "No turn is stuck.", database.turns),
    Diagnosis("cache", "What must be shared between processes is.", cache.look),
    Diagnosis(
        "channel-layer",
        "Notifications reach every process.",
        workers.channel_layer,
    ),
    Diagnosis("celery", "Tasks run in workers, or there are none.", workers.celery),
    Diagnosis("broker", "Turns reach a worker, or run where they are asked.", workers.broker, online=True),
    Diagnosis("prices", "Every model that is asked has a known price.", models.prices),
    Diagnosis("retired", "No model that is asked is switched off or soon to be.", models.retirements),
    Diagnosis("provider", "The provider is reached, and takes the key.", provider.look, online=True),
    Diagnosis("clock", "This machine and the provider agree about the time.", provider.clock, online=True),
    Diagnosis("vocabulary", "Tokens are counted exactly.", vocabulary.look),
    Diagnosis("pgvector", "The database has what searches of vectors need.", vectors.pgvector),
    Diagnosis("vectors", "Every stored vector can be found.", vectors.stale_vectors),
    Diagnosis("indexes", "The indexes of the site's objects are up to date.", vectors.stale_indexes),
    Diagnosis("mail", "Alerts reach somebody, or there are none.", mail.look),
)


def diagnose(site: Site, advance: Callable[[int], None] = lambda number: None) -> Iterator[Finding]:
    """What is found, in the order of the list; for a subject in which nothing is wrong, one that says so.

    One that can't be looked at is an error of its own, named by its kind alone: its text might hold a
    password.
    """
    for diagnosis in DIAGNOSES:
        if diagnosis.online and site.offline:
            advance(1)
            continue
        try:
            found = list(diagnosis.look(site))
        except AnyDatabaseError as problem:
            found = [_unseen(problem, "See whether the database runs, and apply the migrations.")]
        except Exception as problem:
            found = [_unseen(problem, "Run it with --traceback to see where it fails.")]
        advance(1)
        for finding in found or [Finding(Level.OK, diagnosis.fine)]:
            yield replace(finding, id=diagnosis.id)


def _unseen(problem: Exception, mend: str) -> Finding:
    what = f"This could not be looked at: {type(problem).__name__}."
    return Finding(Level.ERROR, what, "What is wrong with it is not known.", mend)
