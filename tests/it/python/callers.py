"""Callers as the package documents them. Standard input says which bodies each of them sends, one
after the other; the last line of the output says what each was answered, and after how long."""

import asyncio
import json
import sys
import time

from dynamic_batcher import DynamicBatcher


async def call(batcher, bodies):
    calls = []
    for body in bodies:
        start = time.monotonic()
        answer = await batcher.asend(body)
        calls.append([answer, time.monotonic() - start])
    return calls


async def main(delay, timeout, callers):
    batcher = DynamicBatcher(delay=delay, timeout=timeout)
    calls = await asyncio.gather(*(call(batcher, bodies) for bodies in callers))
    print(json.dumps(calls))


asyncio.run(main(**json.load(sys.stdin)))
