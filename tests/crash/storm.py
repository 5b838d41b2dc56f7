"""How the faults of a seed come: one after the other, or overlapping, Redis falling while workers sleep and the disk is full."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from redis.exceptions import RedisError

from tests.crash.faults import SLOTS, Field

REDIS_FAULTS, OTHER_FAULTS = 3, 7
LAST_S = 10.0


def one_by_one(field: Field) -> None:
    for fault in field.random.choices(field.faults(), k=field.random.randint(3, 8)):
        time.sleep(field.random.uniform(0.2, 1.6))
        fault()
        field.workers.mend()


def overlapping(field: Field) -> None:
    """Ten within ten seconds. Redis is broken in one way at a time, and so is a folder or a server."""
    chance, redis, places = random.Random(f"{field.seed} storm"), threading.Lock(), threading.Lock()
    of_redis = [field.kill_redis, field.forget_redis, field.forget_redis, field.pause_redis, field.fill_redis]
    of_others = [
        field.pause_worker, field.pause_worker, field.kill_worker, field.stop_worker, field.block_data, field.break_upstream,
        field.kill_upstream,
    ]  # fmt: skip
    alone = {"block_data": places, "kill_upstream": places}
    field.in_flight += 6 * SLOTS

    def strikes(at_s: float, fault: Callable[[], None], lock: threading.Lock) -> None:
        time.sleep(at_s)
        try:
            with lock:
                fault()
        except (RedisError, OSError) as error:  # what another fault did to this one
            field.say(f"{fault.__name__}: {type(error).__name__}: {error}")

    chosen = [(chance.uniform(0.5, LAST_S), chance.choice(of_redis), redis) for _ in range(REDIS_FAULTS)]
    for fault in chance.choices(of_others, k=OTHER_FAULTS):
        chosen.append((chance.uniform(0.5, LAST_S), fault, alone.get(fault.__name__, threading.Lock())))
    threads = [threading.Thread(target=strikes, args=each) for each in chosen]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        field.workers.mend()
        time.sleep(0.3)
    field.workers.wake()
