"""A caller or a processor of the package, beside the peers of the program `soak`. Takes the same
argument as they do, and says the same in JSON lines."""

import asyncio
import itertools
import json
import os
import sys
import threading
import time

from dynamic_batcher import BatchProcessor, DynamicBatcher

config = json.loads(sys.argv[1])
stopped = threading.Event()


def orders():
    for _ in sys.stdin:
        stopped.set()
    os._exit(1)


def say(message):
    print(json.dumps(message), flush=True)


def duration(seconds):
    return {"secs": int(seconds), "nanos": int(seconds % 1 * 1e9)}


def seconds(duration):
    return duration["secs"] + duration["nanos"] / 1e9


def failure(text):
    return {"Err": {"kind": "Python", "text": text, "retryable": False, "retry_after": None}}


async def call(batcher, timeout, ids):
    while not stopped.is_set():
        number = next(ids)
        say({"sent": number})
        start = time.monotonic()
        try:
            answer = await batcher.asend({"values": [number, 1]})
            outcome = {"Ok": answer["sum"]} if answer else failure("None")
        except Exception as error:
            outcome = failure(repr(error))
        elapsed = duration(time.monotonic() - start)
        ended = {"id": number, "outcome": outcome, "elapsed": elapsed, "timeout": duration(timeout)}
        say({"ended": ended})
        await asyncio.sleep(seconds(config["rest"]))


async def caller():
    timeout = seconds(config["timeout"])
    batcher = DynamicBatcher(timeout=timeout)
    ids = itertools.count(config["first_id"])
    say("ready")
    await asyncio.gather(*(call(batcher, timeout, ids) for _ in range(config["tasks"])))
    say({"left": {"abandoned": 0, "released": 0, "ended": True, "took": duration(0)}})


def serve(bodies):
    return [{"sum": sum(body["values"])} for body in bodies]


threading.Thread(target=orders, daemon=True).start()
if config["role"] == "caller":
    asyncio.run(caller())
else:
    say("ready")
    processor = BatchProcessor(batch_size=config["batch_size"], batch_time=seconds(config["batch_time"]))
    asyncio.run(processor.start_daemon(serve))
