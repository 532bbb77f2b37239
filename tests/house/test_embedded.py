"""The embedded Valkey and the state folder it lives in."""

import os
import signal
import socket
import stat
import subprocess
from pathlib import Path

import pytest
import redis

from service.stack.embedded import EmbeddedValkeyMissing, embedded_url, embedded_valkey
from service.stack.state_folder import StateFolder, StateFolderBusy
from service.supervision.ports import free_ports, is_free
from service.supervision.supervisor import RestartPolicy


def _valkey(folder: StateFolder):
    return embedded_valkey(
        folder.folder('odd "name" here'),
        port=free_ports(1)[0],
        password=folder.secret("valkey"),
        lock_fd=folder.lock_fd,
    )


def test_an_answered_write_outlives_kill_9(stage, wait_until, tmp_path):
    with StateFolder(tmp_path / "state") as folder:
        child, url = _valkey(folder)
        with (
            stage.running(child, policy=RestartPolicy(first_s=0.05)) as supervisor,
            redis.Redis.from_url(url, retry=None) as client,
        ):
            assert stage.ready.wait(60)
            client.set("promise", "kept")
            before = supervisor.pids()["valkey"]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda: supervisor.pids().get("valkey", before) != before and child.is_ready())
            assert client.get("promise") == b"kept"
            expected = {"appendfsync": "always", "maxmemory-policy": "noeviction", "bind": "127.0.0.1"}
            assert {name: client.config_get(name)[name] for name in expected} == expected


def test_the_url_is_found_again_by_its_folder(tmp_path):
    with StateFolder(tmp_path / "state") as folder:
        _, url = _valkey(folder)
        assert embedded_url(folder.folder('odd "name" here')) == url
    with pytest.raises(EmbeddedValkeyMissing, match="no state folder"):
        embedded_url(tmp_path / "valkey")


def test_the_password_is_needed_and_is_in_no_argument_list(stage, tmp_path):
    with StateFolder(tmp_path) as folder:
        child, url = _valkey(folder)
        with stage.running(child) as supervisor:
            assert stage.ready.wait(60)
            host_and_port = url.rpartition("@")[2]
            with (
                redis.Redis.from_url(f"redis://{host_and_port}", retry=None) as stranger,
                pytest.raises(redis.AuthenticationError),
            ):
                stranger.ping()
            arguments = Path(f"/proc/{supervisor.pids()['valkey']}/cmdline").read_bytes()
            assert folder.secret("valkey").encode() not in arguments


def test_a_state_folder_has_one_user(tmp_path):
    with StateFolder(tmp_path), pytest.raises(StateFolderBusy, match="--state-dir"):
        StateFolder(tmp_path)
    StateFolder(tmp_path).close()


def test_an_orphan_keeps_the_folder_locked(tmp_path):
    folder = StateFolder(tmp_path)
    with subprocess.Popen(["sleep", "60"], pass_fds=[folder.lock_fd]) as orphan:
        folder.close()
        with pytest.raises(StateFolderBusy):
            StateFolder(tmp_path)
        orphan.kill()
    StateFolder(tmp_path).close()


def test_secrets_are_random_kept_and_private(tmp_path):
    with StateFolder(tmp_path / "one") as one, StateFolder(tmp_path / "two") as two:
        secret = one.secret("webhook", prefix="whsec_")
        assert secret.startswith("whsec_")
        assert one.secret("webhook", prefix="whsec_") == secret
        assert two.secret("webhook", prefix="whsec_") != secret
        modes = {stat.S_IMODE(path.stat().st_mode) for path in one.path.iterdir()}
        assert modes == {0o600}
        assert stat.S_IMODE(one.path.stat().st_mode) == 0o700


def test_free_ports_differ_and_a_taken_one_is_seen():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        assert not is_free("127.0.0.1", ports[0])
    assert is_free("127.0.0.1", ports[0])
    with pytest.raises(OSError, match="address"):
        is_free("192.0.2.1", ports[0])
    for odd in ("..", "a" * 64, "", "no such host"):
        with pytest.raises(OSError, match="is no address of this machine"):
            is_free(odd, ports[0])
