"""Procrastinate with a task that does nothing: how fast one worker process empties a full queue, and works while jobs
come in. Tries settings and keeps the best. Usage: procrastinate_bench.py CONNECTION_STRING JOBS SECONDS"""

import asyncio
import json
import logging
import sys
import time

import procrastinate

# Jobs at once, and whether finished ones are deleted.
SETTINGS = [(4, "never"), (10, "never"), (10, "always"), (30, "always")]
# How many jobs wait at the most while others come in.
AHEAD = 2_000

handled = 0


def app(conninfo, connections):
    app = procrastinate.App(
        connector=procrastinate.PsycopgConnector(conninfo=conninfo, min_size=connections, max_size=connections)
    )

    @app.task(name="nothing")
    async def nothing(n):
        global handled
        handled += 1

    return app


async def enqueue(app, count):
    await app.configure_task("nothing").batch_defer_async(*({"n": n} for n in range(count)))


async def worker(app, concurrency, delete, wait):
    await app.run_worker_async(
        concurrency=concurrency,
        delete_jobs=delete,
        wait=wait,
        fetch_job_polling_interval=0.05,
        install_signal_handlers=False,
    )


async def drain(conninfo, jobs, concurrency, delete):
    global handled
    async with app(conninfo, concurrency + 3).open_async() as opened:
        await opened.connector.execute_query_async("truncate procrastinate_jobs cascade")
        for _ in range(0, jobs, 500):
            await enqueue(opened, 500)
        await opened.connector.execute_query_async("analyze")
        handled = 0
        start = time.monotonic()
        await worker(opened, concurrency, delete, False)
        rate = handled / (time.monotonic() - start)
    assert handled == jobs, f"{handled} of {jobs} jobs were handled"
    return rate


async def produce(opened):
    enqueued = 0
    while True:
        if enqueued - handled < AHEAD:
            await enqueue(opened, 100)
            enqueued += 100
        else:
            await asyncio.sleep(0.01)


async def steady(conninfo, seconds, concurrency, delete):
    """The rate after the first fifth of the time."""
    global handled
    async with app(conninfo, concurrency + 4).open_async() as opened:
        await opened.connector.execute_query_async("truncate procrastinate_jobs cascade")
        handled = 0
        tasks = [
            asyncio.create_task(produce(opened)),
            asyncio.create_task(worker(opened, concurrency, delete, True)),
        ]
        await asyncio.sleep(seconds / 5)
        start, before = time.monotonic(), handled
        await asyncio.sleep(seconds * 4 / 5)
        rate = (handled - before) / (time.monotonic() - start)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=10)
    return rate


async def main():
    conninfo, jobs, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    async with app(conninfo, 2).open_async() as opened:
        await opened.schema_manager.apply_schema_async()
    trials = [(await drain(conninfo, max(500, jobs // 5 // 500 * 500), *setting), setting) for setting in SETTINGS]
    _, (concurrency, delete) = max(trials)
    name = f"{concurrency} at once, delete {delete}"
    rate = await drain(conninfo, jobs, concurrency, delete)
    print(json.dumps({"figure": "drain", "value": rate, "with": name}), flush=True)
    rate = await steady(conninfo, seconds, concurrency, delete)
    print(json.dumps({"figure": "in and out", "value": rate, "with": name}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
