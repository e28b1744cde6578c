"""Callers as the package documents them, each of which sends its next request when it has its answer.
The arguments: how many, and the seconds before and of the measurement. Prints a line when it begins,
one when it ends, and what came of it as JSON. Ends with an error when an answer is wrong."""

import asyncio
import json
import sys
import time

from dynamic_batcher import DynamicBatcher

WARM_UP, MEASURE, END = range(3)
stage = WARM_UP
latencies = []


async def call(batcher, number):
    count = 0
    while stage != END:
        sent = time.perf_counter()
        # The package's client blocks, and pauses only while there is no answer: a caller that is
        # answered at once would let no other one run. The wait for its turn counts.
        await asyncio.sleep(0)
        answer = await batcher.asend({"values": [number, count, 5]})
        if answer != {"sum": number + count + 5}:
            sys.exit(f"{answer} where the sum of {[number, count, 5]} was expected")
        if stage == MEASURE:
            latencies.append(time.perf_counter() - sent)
        count += 1


async def main(callers, warm_up, measured):
    global stage
    batcher = DynamicBatcher()
    calls = [asyncio.create_task(call(batcher, number)) for number in range(callers)]
    await asyncio.sleep(warm_up)
    stage = MEASURE
    start = time.perf_counter()
    print("measuring", flush=True)
    await asyncio.sleep(measured)
    stage = END
    seconds = time.perf_counter() - start
    print("measured", flush=True)
    print(json.dumps({"requests": len(latencies), "seconds": seconds, "latencies": latencies}))


callers, warm_up, measured = sys.argv[1:]
asyncio.run(main(int(callers), float(warm_up), float(measured)))
