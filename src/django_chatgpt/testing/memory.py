"""What the process of a site remembers, and the next test should not know."""


def forget() -> None:
    """Forget which models have failed, which answers are kept and which alerts were raised.

    Most of it is in the default cache, which is cleared where it belongs to this process (LocMemCache):
    another may hold what somebody needs. Does nothing where Django is not set up.
    """
    from django.apps import apps

    if not (apps.ready and apps.is_installed("django_chatgpt")):
        return
    from django.core.cache import caches
    from django.core.cache.backends.locmem import LocMemCache

    from django_chatgpt.services import alerts

    cache = caches["default"]
    if isinstance(cache, LocMemCache):
        cache.clear()
    alerts.told.clear()
