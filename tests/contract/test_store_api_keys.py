"""API keys: shown once, stored as digests, gone at once when revoked."""

import pytest

from service.cli.main import main
from service.contracts.api_key import Scope, digest_of
from service.store.api_keys import KeyStore, use_key
from service.store.audit import Audit
from service.store.script import Store


@pytest.fixture
def store(redis, library, clock):
    return Store(redis, library)


def test_a_key_is_found_by_its_secret_and_by_nothing_else(store):
    key_id, secret = KeyStore(store).create("acme", {Scope.READ})
    found = store.run(use_key(secret))
    assert (found.id, found.owner, found.scopes) == (key_id, "acme", {Scope.READ})
    for wrong in ("", secret[:-1], secret + "x", digest_of(secret), key_id, secret.swapcase()):
        assert store.run(use_key(wrong)) is None


def test_the_secret_is_nowhere_in_redis(store, redis):
    _, secret = KeyStore(store).create("acme", {Scope.READ, Scope.WRITE})
    store.run(use_key(secret))
    for key in redis.scan_iter():
        assert secret.encode() not in redis.dump(key)
    assert redis.hexists("{mc}:apikeys", digest_of(secret))  # the look above would find what is there


def test_a_revoked_key_is_refused_at_once_and_leaves_nothing(store, redis):
    key_id, secret = KeyStore(store).create("acme", {Scope.READ})
    _, other = KeyStore(store).create("acme", {Scope.READ})
    store.run(use_key(secret))
    assert KeyStore(store).revoke(key_id)
    assert store.run(use_key(secret)) is None
    assert store.run(use_key(other)) is not None
    assert not KeyStore(store).revoke(key_id)
    assert redis.hlen("{mc}:apikeys-used") == 1


def test_a_revoked_secret_never_becomes_a_key_again(store, redis):
    keys, secret = KeyStore(store), "chosen by an operator, kept in the settings"
    key_id = keys.keep(secret, "acme", {Scope.READ})
    assert keys.keep(secret, "acme", {Scope.READ}) == key_id
    assert keys.revoke(key_id)
    assert keys.keep(secret, "acme", {Scope.READ}) is None
    assert store.run(use_key(secret)) is None
    assert keys.listed() == []
    assert Audit(redis, pause=lambda _: None).orphans() == []


def test_the_last_use_is_written_once_a_minute(store, clock):
    keys = KeyStore(store)
    _, secret = keys.create("acme", {Scope.READ})
    assert keys.listed()[0].last_used_at is None
    first = store.run(use_key(secret)).last_used_at
    clock.advance(59)
    store.run(use_key(secret))
    assert keys.listed()[0].last_used_at == first
    clock.advance(1)
    store.run(use_key(secret))
    assert keys.listed()[0].last_used_at == pytest.approx(first + 60)


def test_keeping_a_secret_again_gives_it_no_more_rights(store):
    keys = KeyStore(store)
    key_id = keys.keep("drawn-elsewhere", "acme", {Scope.READ})
    assert keys.keep("drawn-elsewhere", "other", {Scope.ADMIN}) == key_id
    assert [(key.owner, key.scopes) for key in keys.listed()] == [("acme", {Scope.READ})]


@pytest.mark.parametrize("owner", ["", "a b", "a/b", "a:b", "../x", "a" * 65])
def test_an_owner_must_be_fit_to_be_a_tenant(store, owner):
    with pytest.raises(ValueError, match="owner must be"):
        KeyStore(store).create(owner, {Scope.READ})


def test_the_command_makes_lists_and_revokes(redis, redis_url, capsys, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert main(["keys", "create", "--owner", "acme", "--scope", "read,write"]) == 0
    secret = capsys.readouterr().out.strip()
    key = Store(redis).run(use_key(secret))
    assert main(["keys", "list"]) == 0
    line = capsys.readouterr().out
    assert line.startswith(f"{key.id}  acme  read,write  made ")
    assert secret not in line
    assert Audit(redis, pause=lambda _: None).orphans() == []
    assert main(["keys", "revoke", key.id]) == 0
    assert main(["keys", "revoke", key.id]) == 1
    assert "no key" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["keys", "create", "--owner", "acme", "--scope", "root"])
    assert main(["keys", "create", "--owner", "a b", "--scope", "read"]) == 2
