"""The documented processor. Its arguments are the size and the time of a batch."""

import asyncio
import sys

from dynamic_batcher import BatchProcessor


def sum_values(bodies):
    return [{"sum": sum(body["values"])} for body in bodies]


size, time = sys.argv[1:]
processor = BatchProcessor(batch_size=int(size), batch_time=float(time))
asyncio.run(processor.start_daemon(sum_values))
