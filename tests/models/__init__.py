"""The models that tests and benchmarks run: fetched, built or found, by name.

`python -m tests.models.build --list` names them; build.path(NAME) makes one and returns its file,
inputs.dataset(NAME) has what to feed it, accuracy.py and peers.py say how well somebody else's
int8 does on it.
"""
