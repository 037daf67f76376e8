"""How gunicorn runs the fleet; what run.py says on the command line comes on top."""

wsgi_app = "fleet.wsgi:app"
worker_class = "gthread"  # keeps connections open, which the sync worker does not
threads = 4
keepalive = 30
graceful_timeout = 5
control_socket_disable = True  # leaves no socket in the home folder; older ones know no such thing
