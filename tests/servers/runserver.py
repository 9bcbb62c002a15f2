"""`manage.py runserver` on a socket that is listening already: its number is the one argument."""

import socket
import sys
from socketserver import ThreadingMixIn

from django.core.servers.basehttp import WSGIRequestHandler, WSGIServer

from tests.servers.wsgi import application


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


listening = socket.socket(fileno=int(sys.argv[1]))
server = Server(listening.getsockname(), WSGIRequestHandler, bind_and_activate=False)
server.socket.close()
server.socket = listening
server.server_name, server.server_port = "localhost", listening.getsockname()[1]
server.setup_environ()
server.set_app(application)
server.serve_forever()
