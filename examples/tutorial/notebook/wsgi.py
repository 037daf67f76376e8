from werkzeug.middleware.proxy_fix import ProxyFix

from . import create_app

app = create_app()
# One proxy in front, which sets all of these headers.
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)
