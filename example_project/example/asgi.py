"""The site for an ASGI server, static files included: `uvicorn example.asgi:application`."""

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")

# A public site lets its web server serve static files and needs only the inner application.
application = ASGIStaticFilesHandler(get_asgi_application())
