"""The figures: `python -m tests.bench` measures each beside its floor, in one run. See `__main__`."""
