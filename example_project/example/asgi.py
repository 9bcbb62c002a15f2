"""The site for an ASGI server, static files included: `uvicorn example.asgi:application`.

With django-chatgpt[channels] it has sockets, too; uvicorn needs the package websockets for them.
"""

import os
from importlib.util import find_spec

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example.settings")

# A public site lets its web server serve static files and needs only the inner application.
application = ASGIStaticFilesHandler(get_asgi_application())

if find_spec("channels") is not None:
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator

    from django_chatgpt.routing import websocket_urlpatterns

    sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    application = ProtocolTypeRouter({"http": application, "websocket": sockets})
