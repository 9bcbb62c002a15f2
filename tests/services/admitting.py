"""A process of its own that asks for admission from some threads at once, and tells how often it got in.

Its arguments are the settings and the number of tries, as JSON; it begins when a line arrives.
"""

import json
import sys
import threading
from types import SimpleNamespace

import django
from django.conf import settings

THREADS = 4


def main() -> None:
    given, tries = json.loads(sys.argv[1]), int(sys.argv[2])
    if "mysql" in json.dumps(given["DATABASES"]):
        import pymysql

        pymysql.install_as_MySQLdb()
    settings.configure(
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_chatgpt"],
        **given,
    )
    django.setup()
    from django.db import connections

    from django_chatgpt.exceptions import RateLimitedError
    from django_chatgpt.services import rates

    admitted: list[int] = []

    def ask() -> None:
        for _ in range(tries):
            try:
                rates.admit(SimpleNamespace(pk=1))
            except RateLimitedError:
                continue
            admitted.append(1)
        connections.close_all()

    sys.stdin.readline()
    threads = [threading.Thread(target=ask) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.stdout.write(str(len(admitted)))


main()
