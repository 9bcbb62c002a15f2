"""The example site with everything a large one has: `python everything.py` runs what the Procfile names.

PostgreSQL, Redis and RabbitMQ have to be there; where they are is said by the variables in example/scaled.py.
"""

import importlib.util
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
REQUIRED = {
    "honcho": "honcho",
    "celery": "'.[all]'",
    "channels": "'.[all]'",
    "channels_redis": "'.[all]'",
    "psycopg": "'.[all]'",
    "uvicorn": "'.[demo]'",
}


def main() -> int:
    """Prepare the database and run the Procfile until Ctrl-C."""
    wanted = {how for module, how in REQUIRED.items() if importlib.util.find_spec(module) is None}
    if wanted:
        print(f"First: python -m pip install {' '.join(sorted(wanted))}", file=sys.stderr)
        return 1
    os.chdir(HERE)
    os.environ["DJANGO_SETTINGS_MODULE"] = "example.scaled"
    os.environ.setdefault("DJANGO_SECRET_KEY", secrets.token_urlsafe(50))
    from example import scaled

    if absent := unreachable(scaled):
        print(f"Nothing answers at {' and '.join(absent)}. Start it, or say where it is.", file=sys.stderr)
        return 1
    create_database(scaled.DATABASES["default"])

    from walkthrough import USERNAME, chosen_model, prepared_database

    with chosen_model() as model:
        password, _ = prepared_database("example.scaled")
        print(f"Model      {model}")
        print(f"Site       http://127.0.0.1:{os.environ.get('PORT', '8000')}/")
        print(f"Log in as  {USERNAME} (password {password})", flush=True)
        return run_procfile()


def unreachable(settings: object) -> list[str]:
    """The addresses at which no service answers."""
    database = settings.DATABASES["default"]  # type: ignore[attr-defined]
    queue, cache = urlsplit(settings.RABBITMQ_URL), urlsplit(settings.REDIS_URL)  # type: ignore[attr-defined]
    services = {
        "PostgreSQL": (database["HOST"], int(database["PORT"])),
        "RabbitMQ": (queue.hostname, queue.port or 5672),
        "Redis": (cache.hostname, cache.port or 6379),
    }
    absent = []
    for name, address in services.items():
        try:
            socket.create_connection(address, timeout=2).close()
        except OSError:
            absent.append(f"{name} ({address[0]}:{address[1]})")
    return absent


def create_database(database: Mapping[str, Any]) -> None:
    """Make the site's database unless it is there."""
    import psycopg
    from psycopg import sql

    server = psycopg.connect(
        host=database["HOST"],
        port=database["PORT"],
        user=database["USER"],
        password=database["PASSWORD"] or None,
        dbname="postgres",
        autocommit=True,
    )
    with server:
        known = server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database["NAME"]]).fetchone()
        if known is None:
            server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database["NAME"])))


def run_procfile() -> int:
    """Run what the Procfile names, the output of all of it in one terminal; gives the exit status."""
    from honcho.environ import parse_procfile
    from honcho.manager import Manager

    manager = Manager()
    folder = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join([folder, os.environ.get("PATH", "")])}
    for name, command in parse_procfile(Path("Procfile").read_text()).processes.items():
        manager.add_process(name, command, env=environment)
    manager.loop()
    # Who stops it with Ctrl-C wanted that.
    return 0 if manager.returncode in (0, 130) else manager.returncode or 1


if __name__ == "__main__":
    sys.exit(main())
