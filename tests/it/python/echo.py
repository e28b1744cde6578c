"""Sends random values through an echo and prints those that came back changed, as JSON text: the
value and what came of it. The arguments: a seed, how many values, and the largest integer's bits."""

import asyncio
import json
import math
import random
import sys

from dynamic_batcher import DynamicBatcher

seed, count, bits = (int(argument) for argument in sys.argv[1:])
draw = random.Random(seed)

FLOATS = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1, 1e16, 1e22, 1e-7, 123456789012345.67]
TEXTS = ["", "\0\x1f\x7f", '"\\/', "\u2028\u2029", "ü\u4e2d\U0001f600", "e\u0301", "\ufeff", "NaN"]


def integer():
    magnitude = draw.getrandbits(draw.randint(0, bits))
    return draw.choice([magnitude, -magnitude >> 1])


def text():
    anything = "".join(chr(draw.choice([*range(0x20, 0x180), 0x10FFFF])) for _ in range(draw.randrange(8)))
    return draw.choice([anything, draw.choice(TEXTS)])


def value(depth=0):
    kind = draw.randrange(9 if depth < 4 else 6)
    if kind == 0:
        return draw.choice([None, True, False])
    if kind == 1:
        return integer()
    if kind == 2:
        return draw.choice([draw.choice(FLOATS), draw.gauss(0, 1), draw.uniform(-1e300, 1e300)])
    if kind in (3, 4):
        return text()
    if kind == 5:
        return draw.choice([[], {}])
    if kind in (6, 7):
        return [value(depth + 1) for _ in range(draw.randrange(5))]
    return {text(): value(depth + 1) for _ in range(draw.randrange(5))}


def same(one, other):
    """Equal to the type and to the sign of zero, which `==` overlooks."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one.hex() == other.hex()
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


def finite(sent):
    if isinstance(sent, float):
        return math.isfinite(sent)
    if isinstance(sent, list):
        return all(map(finite, sent))
    return all(map(finite, sent.values())) if isinstance(sent, dict) else True


async def main():
    batcher = DynamicBatcher(timeout=10)
    # What JSON does not have must fail, and fail alone.
    values = [[value()] for _ in range(count)]
    values += [[math.nan], {"a": [1, math.inf]}, [[-math.inf]]]
    answers = await asyncio.gather(*map(batcher.asend, values))
    for sent, answer in zip(values, answers):
        if answer is not None if not finite(sent) else not same(sent, answer):
            print(json.dumps([sent, answer]))


asyncio.run(main())
