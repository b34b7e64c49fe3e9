"""These are the entry points: each job is `python -m jobs.NAME`, and a command of `auditor`."""

import os

# Before numpy and torch are loaded: the driver's own sums must not depend on how many cores there are.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
