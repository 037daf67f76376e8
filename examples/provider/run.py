"""Start an OpenID provider and the API behind it, and say how to call it.

Once: ``npm install --prefix examples/provider``. Then: ``python examples/provider/run.py``.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api import create_app
from werkzeug.serving import make_server

HERE = Path(__file__).parent


@contextmanager
def provider() -> Iterator[str]:
    """Run the provider in Node; give its issuer. It ends with its standard input."""
    command = ["node", str(HERE / "provider.js")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            said = next((each for each in process.stdout if each.startswith("issuer ")), None)
            if said is None:
                sys.exit("The provider did not start: npm install --prefix examples/provider")
            yield said.split()[1]
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="of the API; 0 takes any")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with provider() as issuer:
        server = make_server("127.0.0.1", arguments.port, create_app(issuer), threaded=True)
        api = f"http://127.0.0.1:{server.server_port}"
        print(f"The provider is {issuer}, and the API is {api}. A token, and what it opens:\n")
        form = "grant_type=client_credentials&scope=articles:read"
        print(f"curl -s -u reader:the-secret-of-the-reader -d '{form}' {issuer}/token")
        print(f"curl -H 'Authorization: Bearer …' {api}/articles\n", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit()
