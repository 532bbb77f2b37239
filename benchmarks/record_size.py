"""What a job takes in Redis: while it waits, and from its end until it is forgotten.

    python -m benchmarks.record_size [--waiting 10000] [--videos 8]

Waiting: many submissions by the service's own script on a server of the embedded kind, and what its memory
grew by. Ended: videos of the shipped model by the whole service, and what Redis says of the keys that carry a
job's id; its members of sets that all jobs share are not in it.
"""

from __future__ import annotations

import argparse
import statistics

from redis import Redis

from benchmarks.queue_depth import Queue, server
from benchmarks.served import PROMPT, VIDEO_WITHIN_S, running_service


def waiting_bytes(jobs: int) -> float:
    """Of one job, of `jobs` that wait."""
    with server() as redis:
        queue = Queue(redis)
        queue.fill(1)
        before = int(redis.info("memory")["used_memory"])
        queue.fill(jobs)
        return (int(redis.info("memory")["used_memory"]) - before) / jobs


def ended_bytes(videos: int) -> list[int]:
    """Of each of `videos` that were made one after the other."""
    with running_service() as service, Redis.from_url(service.redis_url) as redis:
        names = [service.client.create(PROMPT, seed=number).id for number in range(videos)]
        for name in names:
            service.client.wait(name, timeout_s=VIDEO_WITHIN_S * videos).raise_for_failure()
        return [
            sum(int(redis.memory_usage(key, samples=0) or 0) for key in redis.scan_iter(f"*{name}*"))
            for name in names
        ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.record_size")
    parser.add_argument("--waiting", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=8)
    asked = parser.parse_args()
    print(f"waiting: {waiting_bytes(asked.waiting) / 1024:.1f} KiB a job, of {asked.waiting}")
    ended = [size / 1024 for size in ended_bytes(asked.videos)]
    print(f"ended: {statistics.median(ended):.1f} KiB a video, at most {max(ended):.1f}, of {len(ended)}")


if __name__ == "__main__":
    main()
