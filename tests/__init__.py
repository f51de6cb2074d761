"""A package, so that `from tests.x import` finds these and not a `tests` that some distribution installed."""
