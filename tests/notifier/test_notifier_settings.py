"""What the notifier's environment may say."""

import pytest
from pydantic import ValidationError

from service.notifier.backoff import DEFAULT_DELAYS_S
from service.notifier.settings import NotifierSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, secret: str) -> pytest.MonkeyPatch:
    monkeypatch.setenv("MICROCINEMA_WEBHOOK_SECRET", secret)
    return monkeypatch


def test_only_the_secret_must_be_given() -> None:
    settings = NotifierSettings()
    assert settings.webhook_delays_s == DEFAULT_DELAYS_S
    assert not settings.webhook_allow_private
    assert settings.notifier_metrics_port == 0


def test_the_secret_is_never_shown(secret: str) -> None:
    assert secret not in repr(NotifierSettings())


def test_several_secrets_are_parted_by_spaces(environment, secret: str) -> None:
    newer = "whsec_bmV3ZXItc2VjcmV0LW9mLW1vcmUtdGhhbi0yNC1ieXRlcw=="
    environment.setenv("MICROCINEMA_WEBHOOK_SECRET", f"{newer} {secret}")
    assert NotifierSettings().signer().secrets == (newer, secret)


def test_the_waits_are_json(environment) -> None:
    environment.setenv("MICROCINEMA_WEBHOOK_DELAYS_S", "[1, 2.5]")
    assert NotifierSettings().webhook_delays_s == (1.0, 2.5)


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("WEBHOOK_SECRET", "", "no webhook secret is given"),
        ("WEBHOOK_TIMEOUT_S", "0", "webhook_timeout_s"),
        ("WEBHOOK_DELAYS_S", "[5, -1]", r"webhook_delays_s\.1"),
        ("WEBHOOK_SLOTS", "0", "webhook_slots"),
        ("LEASE_S", "-3", "lease_s"),
        ("NOTIFIER_METRICS_PORT", "65536", "notifier_metrics_port"),
        ("LOG_LEVEL", "LOUD", "log_level"),
    ],
)
def test_what_cannot_work_is_refused_by_name(environment, name: str, text: str, complaint: str) -> None:
    environment.setenv(f"MICROCINEMA_{name}", text)
    with pytest.raises(ValidationError, match=complaint):
        NotifierSettings()


@pytest.mark.parametrize("name", ["WEBHOOK_DELAYS_S", "WEBHOOK_TIMEOUT_S", "LEASE_S"])
def test_no_time_is_infinite_or_not_a_number(environment, name: str) -> None:
    for text in ("inf", "nan") if name != "WEBHOOK_DELAYS_S" else ("[Infinity]", "[NaN]"):
        environment.setenv(f"MICROCINEMA_{name}", text)
        with pytest.raises(ValidationError):
            NotifierSettings()
