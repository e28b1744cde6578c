"""Callers that send one request after the other, each answer checked. The arguments: how many
callers, how many requests each, and the number of the first caller. Prints what came of them."""

import asyncio
import json
import sys
import time

from dynamic_batcher import DynamicBatcher

# A caller that misses its answer waits for 100 s.
SLOW = 20.0

callers, requests, first = (int(argument) for argument in sys.argv[1:])
counts = {"answered": 0, "wrong": 0, "none": 0, "slow": 0, "longest": 0.0}


async def call(batcher, caller):
    for request in range(requests):
        start = time.monotonic()
        answer = await batcher.asend({"values": [caller, request, 5]})
        seconds = time.monotonic() - start
        if answer is None:
            counts["none"] += 1
        elif answer == {"sum": caller + request + 5}:
            counts["answered"] += 1
        else:
            counts["wrong"] += 1
        counts["slow"] += seconds > SLOW
        counts["longest"] = max(counts["longest"], seconds)


async def main():
    batcher = DynamicBatcher()
    await asyncio.gather(*(call(batcher, first + number) for number in range(callers)))
    print(json.dumps(counts))


asyncio.run(main())
