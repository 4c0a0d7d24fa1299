"""PgQueuer with a handler that does nothing: how fast one worker process empties a full queue, and works while jobs
come in. Tries settings and keeps the best. Usage: pgqueuer_bench.py CONNECTION_STRING JOBS SECONDS"""

import asyncio
import json
import logging
import multiprocessing
import sys
import time

import asyncpg
import psycopg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

# Consumers in the process, and jobs a claim.
SETTINGS = [(1, 500), (2, 200), (2, 500), (4, 200), (2, 1000)]
# How many jobs wait at the most while others come in.
AHEAD = 10_000


def address(conninfo):
    """asyncpg does not read connection strings of libpq."""
    given = psycopg.conninfo.conninfo_to_dict(conninfo)
    return {
        "host": given.get("host"),
        "port": given.get("port", 5432),
        "user": given.get("user"),
        "password": given.get("password"),
        "database": given["dbname"],
    }


async def driver(where):
    return AsyncpgDriver(await asyncpg.connect(**where))


async def enqueue(queries, count):
    await queries.enqueue(["nothing"] * count, [b'{"n": 1}'] * count, [0] * count)


async def load(where, jobs):
    queries = Queries(await driver(where))
    for _ in range(0, jobs, 1_000):
        await enqueue(queries, 1_000)
    await queries.driver._connection.execute("vacuum (analyze)")


async def consumers(where, count, batch, mode, handled):
    """Runs consumers until the queue is empty, or for ever."""
    running = []
    for _ in range(count):
        queuer = PgQueuer(await driver(where))

        @queuer.entrypoint("nothing")
        async def nothing(job):
            handled.value += 1

        running.append(queuer.run(batch_size=batch, mode=mode))
    await asyncio.gather(*running)


async def drain(where, jobs, count, batch, handled):
    handled.value = 0
    await load(where, jobs)
    start = time.monotonic()
    await consumers(where, count, batch, QueueExecutionMode.drain, handled)
    rate = handled.value / (time.monotonic() - start)
    assert handled.value == jobs, f"{handled.value} of {jobs} jobs were handled"
    return rate


def produce(where, ahead, handled, seconds):
    """Another process, so that it costs the worker no processor time: keeps the queue filled."""

    async def run():
        queries = Queries(await driver(where))
        enqueued = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if enqueued - handled.value < ahead:
                await enqueue(queries, 500)
                enqueued += 500
            else:
                await asyncio.sleep(0.002)

    uvloop.run(run())


async def steady(where, seconds, count, batch, handled):
    """The rate after the first fifth of the time."""
    handled.value = 0
    producer = multiprocessing.Process(target=produce, args=(where, AHEAD, handled, seconds + 5), daemon=True)
    producer.start()
    working = asyncio.create_task(consumers(where, count, batch, QueueExecutionMode.continuous, handled))
    await asyncio.sleep(seconds / 5)
    start, before = time.monotonic(), handled.value
    await asyncio.sleep(seconds * 4 / 5)
    rate = (handled.value - before) / (time.monotonic() - start)
    producer.terminate()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return rate


async def clear(where):
    await Queries(await driver(where)).clear_queue()


def measured(run, *arguments):
    # A loop of its own each time, so that nothing of one setting runs on under the next.
    return uvloop.run(run(*arguments))


def best(results):
    rate, (count, batch) = max(results)
    return rate, (count, batch), f"{count} consumers x {batch}"


def main():
    where, jobs, seconds = address(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    for name in ("pgqueuer", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Without a lock: one thread writes it, another process reads it.
    handled = multiprocessing.Value("q", 0, lock=False)

    async def install():
        await Queries(await driver(where)).install()

    measured(install)
    # Each setting on a part of the jobs, the best on all.
    trials = [(measured(drain, where, jobs // 5 // 1_000 * 1_000, *setting, handled), setting) for setting in SETTINGS]
    rate, setting, name = best(trials)
    rate = max(rate, measured(drain, where, jobs, *setting, handled))
    print(json.dumps({"figure": "drain", "value": rate, "with": name}), flush=True)
    # The best of the drain, and one that claims less at once.
    trials = []
    for candidate in sorted({setting, (2, 200)}):
        measured(clear, where)
        trials.append((measured(steady, where, seconds, *candidate, handled), candidate))
    rate, _, name = best(trials)
    print(json.dumps({"figure": "in and out", "value": rate, "with": name}), flush=True)


if __name__ == "__main__":
    main()
