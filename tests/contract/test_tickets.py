"""Tickets on real RQ: wake-ups that may be lost or doubled without harm."""

import json

import pytest
from rq import Queue
from rq.job import Job

from service.queue import DELIVERY_QUEUE, GPU_FUNCTION, Tickets, gpu_queue
from service.store.connections import connect_sync
from service.store.errors import StoreUnavailable


def test_a_ticket_names_the_workers_function_in_json_and_never_times_out(redis):
    Tickets(redis).push("default")
    (ticket_id,) = Queue(gpu_queue("default"), connection=redis, serializer="json").job_ids
    ticket = Job.fetch(ticket_id, connection=redis, serializer="json")
    assert (ticket.func_name, ticket.timeout) == (GPU_FUNCTION, -1)
    assert (ticket.result_ttl, ticket.failure_ttl) == (60, 60)
    assert ticket.args in ((), [])


def test_a_top_up_fills_but_never_overfills(redis):
    tickets = Tickets(redis)
    tickets.push("default")
    assert tickets.top_up({"default": 3, "large": 1, "idle": 0}) == 3
    assert tickets.top_up({"default": 3, "large": 1}) == 0
    assert tickets.top_up({"default": 1}) == 0
    assert [tickets.waiting(gpu_queue(pool)) for pool in ("default", "large", "idle")] == [3, 1, 0]


def test_tickets_do_not_pile_up_while_no_worker_lives(redis):
    tickets = Tickets(redis)
    for _ in range(300):
        tickets.push("asleep")
    assert tickets.waiting("gpu-asleep") == 256


def test_a_delivery_ticket_goes_to_the_notifiers_queue(redis):
    Tickets(redis).push_delivery()
    assert Tickets(redis).waiting(DELIVERY_QUEUE) == 1


def test_a_cancel_is_published_to_the_worker(redis):
    listener = redis.pubsub()
    listener.subscribe("rq:pubsub:gpu-1")
    assert listener.get_message(timeout=20)["type"] == "subscribe"
    Tickets(redis).call_off("gpu-1", "video_a")
    message = listener.get_message(timeout=20)
    assert json.loads(message["data"]) == {"command": "cancel", "job_id": "video_a"}
    listener.close()


def test_an_absent_server_is_told():
    with pytest.raises(StoreUnavailable):
        Tickets(connect_sync("redis://127.0.0.1:1", timeout_s=0.5)).push("default")
