"""What a WSGI server is pointed at."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
