"""What an ASGI server is pointed at: HTTP, and where Channels is installed sockets, too."""

from importlib.util import find_spec

from django.core.asgi import get_asgi_application

application = get_asgi_application()

if find_spec("channels") is not None:
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from channels.security.websocket import AllowedHostsOriginValidator

    from django_chatgpt.routing import websocket_urlpatterns

    sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
    application = ProtocolTypeRouter({"http": application, "websocket": sockets})
