"""The pod's deletion cost, kept over TLS at a small API server, with a token in a real file."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from worker.pod import (
    BUSY,
    IDLE,
    IDLE_AFTER_S,
    RETRY_AFTER_S,
    DeletionCost,
    PodAnnotations,
    open_deletion_cost,
)
from worker.settings import WorkerSettings

NAME = "worker-6c9f-abcde"
PATH = f"/api/v1/namespaces/films/pods/{NAME}"


@dataclass
class Cluster:
    """An API server that keeps one pod's annotations and knows one token."""

    account: Path
    port: int = 0
    token: str = "first"
    annotations: dict[str, str] = field(default_factory=dict)
    asked: int = 0

    def rotate(self, token: str) -> None:
        self.token = token
        (self.account / "token").write_text(f"{token}\n")

    def cost(self, held: list[str], clock: list[float]) -> DeletionCost:
        pod = PodAnnotations("127.0.0.1", self.port, NAME, self.account)
        return DeletionCost(pod, lambda: held, lambda: clock[0])

    @property
    def kept(self) -> str | None:
        return self.annotations.get("controller.kubernetes.io/pod-deletion-cost")


def _certificate(folder: Path) -> None:
    """A server's own certificate for 127.0.0.1, which is its CA as well."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


@contextmanager
def _serving(cluster: Cluster) -> Iterator[None]:
    class Api(BaseHTTPRequestHandler):
        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            cluster.asked += 1
            status = 200
            if self.headers["authorization"] != f"Bearer {cluster.token}":
                status = 401
            elif self.headers["content-type"] != "application/merge-patch+json":
                status = 415
            elif self.path != PATH:
                status = 404
            else:
                cluster.annotations |= body["metadata"]["annotations"]
            self.send_response(status)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            """Keep the test's output quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.daemon_threads = True
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cluster.account / "ca.crt", cluster.account / "key.pem")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    cluster.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    _certificate(tmp_path)
    cluster = Cluster(tmp_path)
    cluster.rotate("first")
    (tmp_path / "namespace").write_text("films")
    with _serving(cluster):
        yield cluster


def test_a_busy_worker_is_dear_and_an_idle_one_cheap_and_only_changes_are_told(cluster: Cluster) -> None:
    held, clock = [], [0.0]
    cost = cluster.cost(held, clock)
    cost.look()
    assert cluster.kept == str(IDLE)
    held.append("video_a|1")
    cost.look()
    assert cluster.kept == str(BUSY)
    cost.look()
    held.clear()
    clock[0] += IDLE_AFTER_S - 1  # between two jobs
    cost.look()
    assert (cluster.kept, cluster.asked) == (str(BUSY), 2)
    clock[0] += 1
    cost.look()
    assert (cluster.kept, cluster.asked) == (str(IDLE), 3)


def test_the_token_is_read_anew_and_a_refusal_is_said_once_and_not_repeated_at_once(cluster: Cluster) -> None:
    held, clock = [], [0.0]
    cost = cluster.cost(held, clock)
    cost.look()
    cluster.token = "second"  # rotated; the kubelet has not written the file yet
    held.append("video_a|1")
    with capture_logs() as lines:
        cost.look()
        cost.look()
        clock[0] += RETRY_AFTER_S
        cost.look()
    assert [(line["event"], line["cost"]) for line in lines] == [("pod_deletion_cost_not_told", BUSY)]
    assert "401" in lines[0]["reason"]
    assert cluster.asked == 3
    cluster.rotate("second")
    clock[0] += RETRY_AFTER_S
    cost.look()
    assert cluster.kept == str(BUSY)


def test_an_api_server_that_is_away_or_not_the_clusters_own_costs_one_line(
    cluster: Cluster, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    _certificate(other)
    for name in ("token", "namespace"):
        (other / name).write_bytes((tmp_path / name).read_bytes())
    strangers = PodAnnotations("127.0.0.1", cluster.port, NAME, other)
    nobody = PodAnnotations("127.0.0.1", 1, NAME, tmp_path)
    unmounted = PodAnnotations("127.0.0.1", cluster.port, NAME, tmp_path / "nothing")
    for place in (strangers, nobody, unmounted):
        with capture_logs() as lines:
            DeletionCost(place, lambda: (), lambda: 0.0).look()
        assert [line["event"] for line in lines] == ["pod_deletion_cost_not_told"]
    assert cluster.asked == 0


def test_outside_a_cluster_nothing_is_asked(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MICROCINEMA_POD_NAME", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    off = open_deletion_cost(WorkerSettings(), lambda: ())
    off.look()
    off.start()
    off.stop()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
    open_deletion_cost(WorkerSettings(), lambda: ()).look()  # in a pod that nobody named
    assert cluster.asked == 0
    monkeypatch.setenv("MICROCINEMA_POD_NAME", NAME)
    monkeypatch.setenv("MICROCINEMA_POD_ACCOUNT", str(cluster.account))
    kept = open_deletion_cost(WorkerSettings(), lambda: ())
    kept.look()
    assert cluster.kept == str(IDLE)
