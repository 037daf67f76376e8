"""The app of the factory example; each answer names the worker that gave it.

gunicorn finds it as ``fleet.wsgi:app``, from the folder ``examples``. All that makes it a fleet is
in the environment: ``JAM_REDIS_URL``, and one ``JAM_JWT_SECRET_KEY`` for all workers.
"""

from __future__ import annotations

import os

from factory import create_app
from flask import Response

app = create_app()


@app.after_request
def name_the_worker(response: Response) -> Response:
    # To watch the fleet by; a site that is open to the world keeps this to itself.
    response.headers["X-Worker"] = str(os.getpid())
    return response
