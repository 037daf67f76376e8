"""Tokens of real providers, each shown to the rules for each of them.

Two run in Node, from ``tests/counterparts``: ``npm ci --prefix tests/counterparts`` installs them.
The third is moto, which makes the tokens of Amazon Cognito.
"""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from flask_jam import TokenError
from flask_jam.issuers import Issuer, cognito, oidc

from ..providers import running
from .accepting import Accepting

pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent.parent / "counterparts"
SECRET = "the-secret-of-the-service"


class Given(NamedTuple):
    """A provider's rules, and what it gives: access tokens, and ID tokens where it has some."""

    rules: Issuer
    access: str
    identity: str | None


def missing() -> str | None:
    """Return why the providers cannot run here."""
    if shutil.which("node") is None:
        return "needs Node"
    if not (PROGRAMS / "node_modules").is_dir():
        return "needs npm ci --prefix tests/counterparts"
    return None


@contextmanager
def node(program: str) -> Iterator[str]:
    """Run a provider; give its issuer."""
    command = ["node", str(PROGRAMS / program)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            issuer = next(line for line in process.stdout if line.startswith("issuer "))
            yield issuer.split()[1]
        finally:
            process.terminate()


def token_response(issuer: str, **form: str) -> dict[str, Any]:
    with urlopen(f"{issuer}/token", urlencode(form).encode(), timeout=20) as response:
        return dict(json.load(response))


def of_oidc_provider(issuer: str) -> Given:
    given = token_response(
        issuer,
        grant_type="client_credentials",
        client_id="service",
        client_secret=SECRET,
        resource="urn:api",
        scope="read",
    )
    rules = oidc(issuer, audience="api", typ="at+jwt", typ_optional=False)
    return Given(rules, given["access_token"], None)


def of_mock_server(issuer: str) -> Given:
    given = token_response(
        issuer, grant_type="authorization_code", code="x", client_id="app", scope="openid read"
    )
    return Given(oidc(issuer, audience="api"), given["access_token"], given["id_token"])


def of_cognito(jwks_uri: str, monkeypatch: pytest.MonkeyPatch) -> Given:
    import boto3
    from moto import mock_aws

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("cognito-idp", "eu-central-1")
        pool = client.create_user_pool(PoolName="p")["UserPool"]["Id"]
        app = client.create_user_pool_client(UserPoolId=pool, ClientName="app")
        app_id = app["UserPoolClient"]["ClientId"]
        client.admin_create_user(UserPoolId=pool, Username="alice", TemporaryPassword="Temp-1-x")
        client.admin_set_user_password(
            UserPoolId=pool, Username="alice", Password="Good-1-x", Permanent=True
        )
        answer = client.initiate_auth(
            ClientId=app_id,
            AuthFlow="USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": "alice", "PASSWORD": "Good-1-x"},
        )["AuthenticationResult"]
    rules = cognito("eu-central-1", pool, clients=app_id, jwks_uri=jwks_uri)
    return Given(rules, answer["AccessToken"], answer["IdToken"])


def keys_of_moto() -> list[dict[str, Any]]:
    packed = files("moto.cognitoidp.resources").joinpath("jwks-public.json.gz").read_bytes()
    return list(json.loads(gzip.decompress(packed))["keys"])


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Given]]:
    if why := missing():
        pytest.skip(why)
    pytest.importorskip("moto")
    with ExitStack() as stack:
        urls = [
            stack.enter_context(node(f"{name}.js")) for name in ("oidc_provider", "mock_server")
        ]
        served = stack.enter_context(running(*keys_of_moto()))
        yield {
            "oidc-provider": of_oidc_provider(urls[0]),
            "oauth2-mock-server": of_mock_server(urls[1]),
            "cognito": of_cognito(served.jwks_uri, monkeypatch),
        }


def test_each_provider_is_taken_by_its_own_rules_and_by_no_others(
    providers: dict[str, Given],
) -> None:
    together = Accepting([given.rules for given in providers.values()], time.time)
    for name, given in providers.items():
        facts = together.verify(given.access)
        assert facts.periods is given.rules
        assert facts.issuer == given.rules.issuer
        assert together.verify(given.access) is facts
        if given.identity is not None:
            with pytest.raises(TokenError):
                pytest.fail(f"{name}: {together.verify(given.identity)}")
        for other in providers:
            alone = Accepting([providers[other].rules], time.time)
            if other == name:
                assert alone.verify(given.access).sub == facts.sub
            else:
                with pytest.raises(TokenError):
                    pytest.fail(f"{name} for {other}: {alone.verify(given.access)}")
            alone.close()
    together.close()
