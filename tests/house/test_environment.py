"""A variable that cannot be used is named in the same words by every process; secrets stay unsaid."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.contracts.environment import UnusableSettings, read_settings
from service.notifier.settings import NotifierSettings
from service.settings import GatewaySettings
from service.stack.settings import StackSettings
from service.storage.settings import StorageSettings
from service.store.settings import RedisSettings
from service.tracing import TraceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + "dGVzdHMtb25seS1zZWNyZXQtb2YtMzItYnl0ZXM="


@pytest.mark.parametrize(
    ("kind", "variable", "text", "sentence"),
    [
        (
            GatewaySettings,
            "MICROCINEMA_PORT",
            "99999",
            "MICROCINEMA_PORT must be less than or equal to 65535, got '99999'",
        ),
        (
            GatewaySettings,
            "MICROCINEMA_LEASE_S",
            "soon",
            "MICROCINEMA_LEASE_S must be a valid number, unable to parse string as a number, got 'soon'",
        ),
        (
            GatewaySettings,
            "MICROCINEMA_ALIASES",
            "{",
            "MICROCINEMA_ALIASES: cannot be read as JSON: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1), got a value that is not shown here",
        ),
        (
            GatewaySettings,
            "MICROCINEMA_PICTURE_ORIGINS",
            "https://a.example minio:9000",
            "MICROCINEMA_PICTURE_ORIGINS: 'minio:9000' must be an origin such as http://minio:9000, "
            "got 'https://a.example minio:9000'",
        ),
        (
            StorageSettings,
            "MICROCINEMA_STORAGE",
            "tape",
            "MICROCINEMA_STORAGE must be 'files' or 's3', got 'tape'",
        ),
        (
            StorageSettings,
            "MICROCINEMA_STORAGE",
            "s3",
            "S3_BUCKET is empty: MICROCINEMA_STORAGE=s3 needs the name of a bucket that exists",
        ),
        (
            RedisSettings,
            "MICROCINEMA_REDIS_TIMEOUT_S",
            "0",
            "MICROCINEMA_REDIS_TIMEOUT_S must be greater than or equal to 0.01, got '0'",
        ),
        (
            WorkerSettings,
            "MICROCINEMA_BEAT_S",
            "6",
            "MICROCINEMA_BEAT_S=6.0 must be at most a third of MICROCINEMA_LEASE_S=15.0: "
            "two lost beats must not cost a job",
        ),
        (
            WorkerSettings,
            "MICROCINEMA_POOL",
            "a b",
            "MICROCINEMA_POOL: String must match pattern '^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$', got 'a b'",
        ),
        (
            NotifierSettings,
            "MICROCINEMA_WEBHOOK_DELAYS_S",
            "[5, -1]",
            "MICROCINEMA_WEBHOOK_DELAYS_S[1] must be greater than 0, got -1",
        ),
        (
            NotifierSettings,
            "MICROCINEMA_WEBHOOK_DELAYS_S",
            "5, 30",
            "MICROCINEMA_WEBHOOK_DELAYS_S: cannot be read as JSON: Extra data: line 1 column 2 (char 1), "
            "got '5, 30'",
        ),
    ],
)
def test_the_sentence_names_variable_bound_and_value(monkeypatch, kind, variable, text, sentence):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("MICROCINEMA_WEBHOOK_SECRET", SECRET)
    monkeypatch.setenv(variable, text)
    with pytest.raises(UnusableSettings) as caught:
        read_settings(kind)
    assert str(caught.value) == sentence


def test_every_fault_has_its_sentence(monkeypatch):
    monkeypatch.setenv("MICROCINEMA_QUEUE_LIMIT", "0")
    monkeypatch.setenv("MICROCINEMA_POLL_AFTER_MS", "x")
    with pytest.raises(UnusableSettings, match=r"MICROCINEMA_QUEUE_LIMIT .*; MICROCINEMA_POLL_AFTER_MS "):
        read_settings(GatewaySettings)


@pytest.mark.parametrize(
    ("kind", "variable", "texts"),
    [
        (GatewaySettings, "MICROCINEMA_RETENTION_S", ("inf", "nan", "1e308")),  # no date, and no JSON
        (GatewaySettings, "MICROCINEMA_QUOTA_GPU_SECONDS", ("inf", "1e308")),
        (GatewaySettings, "MICROCINEMA_KEEP_ALIVE_S", ("9" * 400,)),  # more than a timer takes
        (GatewaySettings, "MICROCINEMA_HEARTBEAT_S", ("1e-320",)),  # nothing but comments, without a pause
        (GatewaySettings, "MICROCINEMA_SEND_TIMEOUT_S", ("inf",)),
        (WorkerSettings, "MICROCINEMA_HANG_GRACE_S", ("inf", "1e308")),
        (WorkerSettings, "MICROCINEMA_ATTEMPT_LIMIT_S", ("inf",)),
        (WorkerSettings, "MICROCINEMA_BEAT_S", ("1e-320",)),
        (GatewaySettings, "MICROCINEMA_LEASE_S", ("1e-320", "2.9")),
        (NotifierSettings, "MICROCINEMA_LEASE_S", ("1e-320", "2.9")),
        (WorkerSettings, "MICROCINEMA_LEASE_S", ("1e-320", "2.9")),
        (NotifierSettings, "MICROCINEMA_WEBHOOK_RELAY_EVERY_S", ("1e-320",)),
        (NotifierSettings, "MICROCINEMA_JANITOR_EVERY_S", ("1e-320",)),
        (RedisSettings, "MICROCINEMA_REDIS_TIMEOUT_S", ("1e-320",)),
        (StorageSettings, "MICROCINEMA_PUBLIC_BASE_URL", ("NaN", "", "ftp://a", "http://", "http://a:99999")),
        (StorageSettings, "S3_ENDPOINT_URL", ("NaN", "http://a\nb", "http://\u2603", "http://[")),
        (StorageSettings, "S3_PUBLIC_ENDPOINT_URL", ("videos.example.com",)),
        (TraceSettings, "OTEL_EXPORTER_OTLP_ENDPOINT", ("NaN", "collector:4318", "grpc://collector:4317")),
        (TraceSettings, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ("/v1/traces",)),
        (StorageSettings, "S3_REGION", ("\u2603", "a b", "")),
    ],
)
def test_an_absurd_value_is_refused_at_start(monkeypatch, kind, variable, texts):
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("MICROCINEMA_WEBHOOK_SECRET", SECRET)
    for text in texts:
        monkeypatch.setenv(variable, text)
        with pytest.raises(UnusableSettings, match=rf"^{variable}.* must .*, got "):
            read_settings(kind)


def test_an_address_that_is_left_empty_is_none(monkeypatch):
    for name in ("S3_ENDPOINT_URL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.setenv(name, "")
    assert read_settings(StorageSettings).s3_endpoint_url is None
    assert not read_settings(TraceSettings).wanted


@pytest.mark.parametrize(
    ("kind", "variable", "text", "secret"),
    [
        (RedisSettings, "REDIS_URL", "redis//:hunter2@host", "hunter2"),
        (StackSettings, "REDIS_URL", "http://:hunter2@host", "hunter2"),
        (StorageSettings, "MICROCINEMA_STORAGE_SECRET", "hunter2", "hunter2"),
        (NotifierSettings, "MICROCINEMA_WEBHOOK_SECRET", "whsec_aHVudGVyMg==", "aHVudGVyMg"),
    ],
)
def test_a_value_that_may_hold_a_secret_is_not_repeated(monkeypatch, kind, variable, text, secret):
    monkeypatch.setenv(variable, text)
    with pytest.raises(UnusableSettings) as caught:
        read_settings(kind)
    assert str(caught.value).startswith(variable)
    assert secret not in str(caught.value)


#: Of three kinds of settings: the process's own, the record's and the storage's.
FOUR = {
    "MICROCINEMA_LOG_LEVEL": "LOUD",
    "REDIS_URL": "http://x",
    "MICROCINEMA_STORAGE": "tape",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "NaN",
}


@pytest.mark.parametrize(
    ("process", "own"),
    [
        ("service.main", {"MICROCINEMA_RATE_LIMITS": "often", "MICROCINEMA_CORS_ORIGINS": "app.example"}),
        (
            "service.notifier.main",
            {"MICROCINEMA_WEBHOOK_SECRET": "x", "MICROCINEMA_WEBHOOK_DELAYS_S": "5,"},
        ),
        ("worker.main", {"MICROCINEMA_POOL": "a b", "MICROCINEMA_MAX_BATCH": "0"}),
        ("worker.command", {"MICROCINEMA_POOL": "a b", "MICROCINEMA_MAX_BATCH": "0"}),
    ],
)
def test_every_fault_of_an_environment_is_said_at_once(process, own):
    environment = {**os.environ, **FOUR, **own}
    command = [sys.executable, "-m", process, *(["--gpus", "0"] if process == "worker.command" else [])]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == os.EX_CONFIG
    said = ended.stderr.splitlines()[-1].split(" cannot start: ")[1]
    for variable in (*FOUR, *own):
        assert said.count(f"{variable}") == 1, said
    assert said.count("; ") == len(FOUR) + len(own) - 1


@pytest.mark.parametrize("command", [["up"], ["demo", "--prompt", "x"]])
def test_the_whole_service_says_the_faults_of_all_its_parts_before_it_starts_any(command, tmp_path):
    faults = {**FOUR, "MICROCINEMA_RATE_LIMITS": "often", "MICROCINEMA_WEBHOOK_SECRET": "x"}
    environment = {
        **os.environ,
        **faults,
        "MICROCINEMA_STATE_DIR": str(tmp_path / "state"),
        "PYTHONPATH": str(ROOT),
    }
    whole = [sys.executable, "-m", "service.cli.main", *command]
    ended = subprocess.run(whole, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    (said,) = ended.stderr.splitlines()
    for variable in faults:
        assert said.count(variable) == 1, said
    assert said.count("; ") == len(faults) - 1
    assert not list(tmp_path.iterdir()), "nothing was begun"


@pytest.mark.parametrize("process", ["service.main", "service.notifier.main", "worker.main"])
def test_all_processes_say_it_alike_and_end_with_78(process):
    sound = {"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_WEBHOOK_SECRET": SECRET}
    environment = {**os.environ, **sound, "MICROCINEMA_LOG_LEVEL": "LOUD"}
    command = [sys.executable, "-m", process]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == os.EX_CONFIG
    said = "MICROCINEMA_LOG_LEVEL must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR', got 'LOUD'\n"
    assert ended.stderr.endswith(f" cannot start: {said}")


def test_a_worker_too_ends_with_78_when_its_folder_cannot_be_made():
    environment = {"REDIS_URL": "redis://127.0.0.1:1/0", "MICROCINEMA_STORAGE_DIR": "/dev/null/x"}
    command = [sys.executable, "-m", "worker.main"]
    whole = {**os.environ, **environment}
    ended = subprocess.run(command, env=whole, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == os.EX_CONFIG
    assert "MICROCINEMA_STORAGE_DIR" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unset_variable_is_said_to_be_required(monkeypatch):
    monkeypatch.delenv("REDIS_URL", raising=False)
    with pytest.raises(UnusableSettings, match=r"^REDIS_URL is required and not set$"):
        read_settings(RedisSettings)
