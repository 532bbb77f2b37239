"""Every alert fires when it should, is silent when it should be, and has its entry in the runbook.

promtool plays made-up series against the rules themselves: `promtool test rules`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy/rules").glob("*.yml"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for file in RULES
    for group in yaml.safe_load(file.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (make setup-system)"
)

GOOD = 'microcinema_http_requests_total{job="gateway",method="GET",route="/videos",status="200"}'
BAD = 'microcinema_http_requests_total{job="gateway",method="GET",route="/videos",status="503"}'
PROBED = 'microcinema_http_requests_total{job="gateway",method="GET",route="/readyz",status="503"}'
MADE = 'microcinema_videos_foretold_total{instance="g1",pool="p",model="m"}'
LATE = 'microcinema_videos_late_total{instance="g1",pool="p",model="m"}'
WAITING = 'microcinema_ready_jobs{pool="p"}'
LIVE = 'microcinema_live_workers{pool="p"}'
PAUSED = 'microcinema_pool_paused{pool="p"}'
OLDEST = 'microcinema_oldest_ready_age_seconds{pool="p"}'
FAILED = 'microcinema_worker_attempts_total{instance="w",outcome="failed",code="internal"}'
DONE = 'microcinema_worker_attempts_total{instance="w",outcome="succeeded",code=""}'
USED = 'microcinema_worker_device_memory_bytes{instance="w"}'
AOF, AOF_BASE = "microcinema_redis_aof_bytes", "microcinema_redis_aof_base_bytes"
FREE = 'kubelet_volume_stats_available_bytes{namespace="n",persistentvolumeclaim="data-valkey-0"}'
ROOM = 'kubelet_volume_stats_capacity_bytes{namespace="n",persistentvolumeclaim="data-valkey-0"}'
HAS = 'microcinema_worker_memory_planned_bytes{instance="w",part="device"}'


@dataclass(frozen=True)
class Play:
    """Series in promtool's notation (`0+5x60`: from 0, 5 more each `interval`, 60 times) and when to look."""

    series: dict[str, str]
    at: str
    interval: str = "1m"


def steady(series: str, value: float | str, minutes: int = 60) -> Play:
    return Play({series: f"{value}x{minutes}"}, f"{minutes}m")


#: By alert: what makes it fire, and the same with the one thing changed that must keep it silent.
PLAYS: dict[str, tuple[Play, Play]] = {
    "GatewayErrorsBurnFast": (
        Play({GOOD: "0+100x90", BAD: "0+5x90"}, "90m"),
        Play({GOOD: "0+100x90", BAD: "0+1x90"}, "90m"),  # 1 %: ten times the objective, for the slower ones
    ),
    "GatewayErrorsBurn": (
        Play({GOOD: "0+500x80", BAD: "0+5x80"}, "400m", "5m"),
        Play({GOOD: "0+500x80", BAD: "0+5x60 300x20"}, "400m", "5m"),  # it was, and is over
    ),
    "GatewayErrorsBurnSlow": (
        Play({GOOD: "0+5000x900", BAD: "0+10x900"}, "4500m", "5m"),
        Play({GOOD: "0+5000x900", PROBED: "0+10x900"}, "4500m", "5m"),  # probes are no requests
    ),
    "GatewayAbsent": (
        Play({'up{job="gateway",instance="g1"}': "1x5 0x10"}, "15m"),
        Play({'up{job="gateway",instance="g1"}': "0x15", 'up{job="gateway",instance="g2"}': "1x15"}, "15m"),
    ),
    "NotifierAbsent": (
        Play({'up{job="notifier",instance="n1"}': "1x5 0x20"}, "25m"),
        Play({'up{job="notifier",instance="n1"}': "1x5 0x5 1x15"}, "25m"),  # it was restarted
    ),
    "IntakePausedLong": (
        steady("microcinema_intake_paused", 1, 70),
        Play({"microcinema_intake_paused": "1x40 0x30"}, "70m"),
    ),
    "VideosLateBurnFast": (
        Play({MADE: "0+2x90", LATE: "0+1.5x90"}, "90m"),
        Play({MADE: "0+0.05x90", LATE: "0+0.05x90"}, "90m"),  # three videos in an hour wake nobody
    ),
    "VideosLateBurn": (
        Play({MADE: "0+10x80", LATE: "0+3x80"}, "400m", "5m"),
        Play({MADE: "0+10x80", LATE: "0+1x80"}, "400m", "5m"),
    ),
    "OldestJobTooOld": (
        Play({OLDEST: "0+60x60", PAUSED: "0x60"}, "60m"),
        Play({OLDEST: "0+60x60", PAUSED: "1x60"}, "60m"),
    ),
    "NoLiveWorker": (
        Play({WAITING: "3x30", LIVE: "0x30", PAUSED: "0x30"}, "30m"),
        Play({WAITING: "3x30", LIVE: "0x8 1x22", PAUSED: "0x30"}, "30m"),  # scaled from zero in time
    ),
    "AttemptsFail": (
        Play({FAILED: "0+1x60", DONE: "0+1x60"}, "60m"),
        Play({FAILED: "0+1x60", DONE: "0+9x60"}, "60m"),
    ),
    "WorkersLost": (
        Play({'microcinema_attempts_lost_total{pool="p",instance="g1"}': "0x20 0+1x10"}, "30m"),
        # Two gateways that tell the same two losses are not four.
        Play(
            {
                'microcinema_attempts_lost_total{pool="p",instance="g1"}': "0x20 1 2x10",
                'microcinema_attempts_lost_total{pool="p",instance="g2"}': "0x20 1 2x10",
            },
            "30m",
        ),
    ),
    "LeasesLost": (
        Play({'microcinema_worker_leases_lost_total{instance="w",by="silence"}': "0x20 0+1x10"}, "30m"),
        Play({'microcinema_worker_leases_lost_total{instance="w",by="silence"}': "0x20 1x10"}, "30m"),
    ),
    "DeviceFaults": (
        Play({'microcinema_worker_faults_total{instance="w",kind="device"}': "0x20 0+1x10"}, "30m"),
        Play({'microcinema_worker_faults_total{instance="w",kind="device"}': "0x20 1x10"}, "30m"),
    ),
    "MemoryHeadroomGone": (
        Play({USED: "97x30", HAS: "100x30"}, "30m"),
        Play({USED: "90x30", HAS: "100x30"}, "30m"),
    ),
    "MemoryRungHigh": (
        Play({'microcinema_worker_memory_rung{instance="w"}': "2x40"}, "40m"),
        Play({'microcinema_worker_memory_rung{instance="w"}': "2x20 0x20"}, "40m"),
    ),
    "SpoolFull": (
        Play({'microcinema_worker_spool_full{instance="w"}': "0x5 1x10"}, "15m"),
        Play({'microcinema_worker_spool_full{instance="w"}': "0x14 1"}, "15m"),
    ),
    "SpoolDiskLow": (
        Play({'microcinema_worker_spool_disk_free_bytes{instance="w"}': "600000000x5 500000000x15"}, "20m"),
        Play({'microcinema_worker_spool_disk_free_bytes{instance="w"}': "600000000x20"}, "20m"),
    ),
    "WorkerGivenUp": (
        Play({'microcinema_worker_given_up{instance="w",place="gpu1"}': "0x5 1x5"}, "10m"),
        Play({'microcinema_worker_given_up{instance="w",place="gpu1"}': "0x10"}, "10m"),
    ),
    "StorageRefuses": (
        Play({'microcinema_worker_storage_retries_total{instance="w"}': "0+12x40"}, "40m"),
        Play({'microcinema_worker_storage_retries_total{instance="w"}': "0+1x40"}, "40m"),
    ),
    "JobsStandStill": (
        Play({"microcinema_jobs_set_aside": "0x5 1x20", "microcinema_newer_records": "0x25"}, "25m"),
        Play({"microcinema_jobs_set_aside": "0x5 1x5 0x15", "microcinema_newer_records": "0x25"}, "25m"),
    ),
    "RedisDown": (
        Play({'microcinema_redis_up{instance="g1"}': "1x5 0x10"}, "15m"),
        Play({'microcinema_redis_up{instance="g1"}': "1x15"}, "15m"),
    ),
    "RedisCannotWrite": (
        Play({"microcinema_redis_aof_written": "1x5 0x10"}, "15m"),
        Play({"microcinema_redis_aof_written": "1x15"}, "15m"),
    ),
    "RedisRewriteFails": (
        Play({"microcinema_redis_aof_rewritten": "1x5 0x20"}, "25m"),
        Play({"microcinema_redis_aof_rewritten": "1x5 0x5 1x15"}, "25m"),  # the next rewrite went well
    ),
    "RedisFileGrows": (
        Play({AOF: "600000000x30", AOF_BASE: "100000000x30"}, "30m"),
        Play({AOF: "60000000x30", AOF_BASE: "1000x30"}, "30m"),  # too short for Redis to rewrite it
    ),
    "RedisSnapshotFails": (
        Play({"microcinema_redis_snapshot_saved": "0x20"}, "20m"),
        Play({"microcinema_redis_snapshot_saved": "1x20"}, "20m"),
    ),
    "RedisDiskLow": (
        Play({FREE: "300x20", ROOM: "1000x20", AOF: "200x20"}, "20m"),  # no room for a rewrite
        Play({FREE: "500x20", ROOM: "1000x20", AOF: "200x20"}, "20m"),
    ),
    "RedisNotDurable": (
        Play({"microcinema_redis_aof_enabled": "0x30"}, "30m"),
        Play({"microcinema_redis_aof_enabled": "1x30"}, "30m"),
    ),
    "RedisMemoryHigh": (
        Play(
            {"microcinema_redis_memory_bytes": "95x30", "microcinema_redis_memory_bound_bytes": "100x30"},
            "30m",
        ),
        Play(
            {"microcinema_redis_memory_bytes": "95x30", "microcinema_redis_memory_bound_bytes": "0x30"}, "30m"
        ),
    ),
    "WebhookBacklog": (
        Play({"microcinema_webhook_due": "0+50x30", "microcinema_outbox_events": "0x30"}, "30m"),
        Play({"microcinema_webhook_due": "0x30", "microcinema_outbox_events": "40x30"}, "30m"),
    ),
    "WebhooksGivenUp": (
        Play({'microcinema_webhook_tries_total{instance="n1",verdict="dead"}': "0x20 0+5x10"}, "30m"),
        Play({'microcinema_webhook_tries_total{instance="n1",verdict="retry"}': "0x20 0+5x10"}, "30m"),
    ),
}


def _test(play: Play, alert: str, fires: bool) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    return {
        "interval": play.interval,
        "input_series": [{"series": name, "values": values} for name, values in play.series.items()],
        "promql_expr_test": [{"expr": firing, "eval_time": play.at, "exp_samples": expected}],
    }


@needs_promtool
@pytest.mark.parametrize("interval", ["1m", "5m"])
def test_each_alert_fires_and_is_silent_as_it_should(interval, tmp_path):
    tests = [
        _test(play, alert, fires)
        for alert, plays in PLAYS.items()
        for play, fires in zip(plays, (True, False), strict=True)
        if play.interval == interval
    ]
    assert tests
    file = tmp_path / "alerts.yml"
    rules = [str(rule) for rule in RULES]
    file.write_text(
        yaml.safe_dump(
            {"rule_files": rules, "evaluation_interval": interval, "tests": tests}, sort_keys=False
        )
    )
    checked = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_alert_goes_untried():
    assert set(PLAYS) == set(ALERTS)


@needs_promtool
@pytest.mark.parametrize("rules", RULES, ids=lambda file: file.name)
def test_promtool_accepts_the_rules(rules):
    checked = subprocess.run(
        ["promtool", "check", "rules", str(rules)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_whoever_is_woken_finds_an_entry_that_says_what_to_do(alert):
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("page", "ticket")
    page, anchor = rule["annotations"]["runbook_url"].split("#")
    sections = re.split(r"^## ", (ROOT / page).read_text(), flags=re.M)[1:]
    (entry,) = [
        section for section in sections if section.splitlines()[0].strip().lower().replace(" ", "-") == anchor
    ]
    assert f"`{alert}`" in entry
    for part in ("**What it means.**", "**Look.**", "**Do.**"):
        assert part in entry, f"{anchor} has no {part}"


def test_the_runbook_has_no_entry_that_nothing_leads_to():
    headings = re.findall(r"^## (.*)$", (ROOT / "docs/runbook.md").read_text(), re.M)
    anchors = {rule["annotations"]["runbook_url"].split("#")[1] for rule in ALERTS.values()}
    assert {heading.lower().replace(" ", "-") for heading in headings} == anchors
