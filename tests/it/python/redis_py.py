"""Prints the version of the client that the package uses."""

import redis

print(redis.__version__)
