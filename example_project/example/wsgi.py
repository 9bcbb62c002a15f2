"""The site for a WSGI server, static files included: `gunicorn --threads 8 example.wsgi`."""

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")

# A public site lets its web server serve static files and needs only the inner application.
application = StaticFilesHandler(get_wsgi_application())
