"""Redis URLs: one meaning for every client, on real servers, and a sentence for what has none."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from kombu import Consumer, Queue
from kombu.exceptions import OperationalError

from schema.states import Lane
from tests.support.guarded_redis import FORMS, PASSWORD, QUOTED, Server, guarded_redis
from worker.cli.services.doctor import _redis as examine_redis
from worker.errors import ConfigurationError, ErrorCode, SusyError
from worker.queue.celery_app import make_app
from worker.queue.publisher import Publisher
from worker.settings import load_settings
from worker.settings.redis_url import RedisUrl

__all__ = ["guarded_redis"]


@pytest.mark.parametrize("form", FORMS)
def test_every_client_reaches_the_same_database_by_each_form(form: str, guarded_redis: Server) -> None:
    url, database = FORMS[form](guarded_redis)
    settings = load_settings(redis_url=url, key_prefix=f"susy:{uuid4()}:")
    assert "noeviction" in examine_redis(settings)
    check_id = uuid4()
    with Publisher(settings) as publisher, make_app(settings) as app:
        publisher.publish([check_id], Lane.LIVE)
        assert publisher.depth(Lane.LIVE) == 1
        assert _received(app) == [str(check_id)]
        assert publisher.depth(Lane.LIVE) == 0
        # What `celery inspect` and the health check do: publish to all workers, and listen for their answers.
        assert app.control.ping(timeout=0.2) == []
    with RedisUrl(port=guarded_redis.port, db=database, password=PASSWORD).client(timeout=5) as client:
        assert client.keys(f"{settings.key_prefix}*"), "nothing was left in the database that the URL names"


def _received(app: Any) -> list[str]:
    """The argument of one message of the live lane, taken as a worker takes it."""
    bodies: list[Any] = []
    with app.connection_for_read() as connection:
        queue = Queue(str(Lane.LIVE), routing_key=str(Lane.LIVE), channel=connection.default_channel)
        with Consumer(connection.default_channel, [queue], on_message=lambda m: (bodies.append(m.decode()), m.ack())):
            connection.drain_events(timeout=10)
    ((arguments, _, _),) = bodies
    return list(arguments)


@pytest.mark.parametrize(
    "options",
    ["", "?ssl_ca_certs=/nowhere/ca.pem", "?ssl_cert_reqs=required&ssl_check_hostname=false"],
)
def test_an_unverified_certificate_is_refused_by_every_client(options: str, guarded_redis: Server) -> None:
    settings = load_settings(redis_url=f"rediss://:{QUOTED}@localhost:{guarded_redis.tls_port}/0{options}")
    with pytest.raises(SusyError):
        examine_redis(settings)
    with make_app(settings) as app, app.connection_for_read() as connection, pytest.raises(OperationalError):
        connection.ensure_connection(max_retries=1, interval_start=0)


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (f"http://:{SECRET}@host", "must begin with redis://, rediss:// or unix://"),
        (f"redis+socket://:{SECRET}@/run/redis.sock", "must begin with"),
        (f"sentinel://:{SECRET}@host:26379", "must begin with"),
        (f"redis://:{SECRET}@one,two:6379", "must name one host"),
        (f"redis://:{SECRET}@host/name", "must be a number"),
        (f"redis://:{SECRET}@host/0/1", "must be a number"),
        (f"redis://:{SECRET}@host/-1", "must be a number"),
        (f"redis://:{SECRET}@host/1?db=2", "two databases"),
        (f"redis://:{SECRET}@host?db=x", "must be numbers"),
        (f"redis://:{SECRET}@host?db=1&db=2", "given once"),
        (f"redis://:{SECRET}@host?db=", "given once"),
        (f"redis://:{SECRET}@host?password=other", "two passwords"),
        (f"redis://user:{SECRET}@host?username=other", "two usernames"),
        (f"redis://:{SECRET}@host:0", "port 0"),
        (f"redis://:{SECRET}@host:99999", "cannot be parsed"),
        (f"redis://:{SECRET}#@host", "percent-encode"),
        (f"redis://:{SECRET}/@host", "percent-encode"),
        (f"redis://:{SECRET}?@host", "percent-encode"),
        (f"redis://:{SECRET}\n@host", "control character"),
        (f"redis://: {SECRET}@host", "white space"),
        (f"redis://:{SECRET}\udc80@host", "control character"),
        (f"redis://:{SECRET}@host?socket_timeout=1", "'socket_timeout' is not supported"),
        (f"redis://:{SECRET}@host?ssl_cert_reqs=none", "needs TLS"),
        (f"rediss://:{SECRET}@host?ssl_cert_reqs=maybe", "must be one of none, optional, required"),
        (f"rediss://:{SECRET}@host?ssl_check_hostname=perhaps", "must be true or false"),
        (f"rediss://:{SECRET}@host?ssl_min_version=1", "771"),
        (f"rediss://:{SECRET}@host?ssl_keyfile=/key.pem", "needs ssl_certfile"),
        (f"unix://:{SECRET}@run/redis.sock", "absolute path"),
        (f"unix://:{SECRET}@", "absolute path"),
        (f"unix://:{SECRET}@/{'a' * 107}", "107 bytes"),
        (f"unix://:{SECRET}@/a%00b", "zero"),
        (f"unix:///run/redis.sock&password={SECRET}", "options begin with ?"),
        (f"redis://host&password={SECRET}", "options begin with ?"),
    ],
)
def test_a_form_without_a_meaning_is_refused_with_a_sentence_that_holds_no_password(url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(redis_url=url)
    assert caught.value.code is ErrorCode.SETTINGS
    assert caught.value.message.startswith("SUSY_REDIS_URL: not a valid Redis URL: ")
    assert reason in caught.value.message
    assert SECRET not in caught.value.message


def test_the_representation_holds_no_secret() -> None:
    address = RedisUrl.parse(f"rediss://user:{SECRET}@host?ssl_password={SECRET}&ssl_certfile=/c&ssl_keyfile=/k")
    assert SECRET not in repr(address)
    assert address.password == SECRET
    mistaken = RedisUrl.parse(f"redis://{SECRET}@host")
    assert (mistaken.username, mistaken.password) == (SECRET, None)
    assert SECRET not in repr(mistaken)


def test_a_socket_may_have_a_name_with_characters_of_options() -> None:
    assert RedisUrl.parse("unix:///run/a%26b%3Dc.sock?db=1").path == "/run/a&b=c.sock"
