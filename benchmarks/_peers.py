"""Runs the peers of bench_power.py. Started in their own environment: imports nothing of this project.

python _peers.py JOBS.json: {"cpu": CPU seconds, not those of the wall; "jobs": a list of {"rows": IN.npz,
"out": OUT.npz}}. IN holds p (r, n, d) and q (r, m, d); OUT, for each peer, (r, 2) answers and (r,) seconds.
"""

import json
import sys
from importlib.metadata import version
from time import perf_counter, process_time

import numpy as np

PERMUTATIONS = 200


def alibi_detect(p, q, seed):
    """P-value of the RBF MMD: fitting (the reference's kernel) and prediction."""
    import torch
    from alibi_detect.cd import MMDDrift

    torch.manual_seed(seed)
    detector = MMDDrift(p, backend="pytorch", n_permutations=PERMUTATIONS, device="cpu")
    return float(detector.predict(q)["data"]["p_val"]), float("nan")


def evidently(p, q, seed):
    """ROC AUC and verdict of the method that `EmbeddingsDriftMetric` takes by default; nothing is drawn."""
    import pandas
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import model

    frames = [pandas.DataFrame(z, columns=[str(i) for i in range(z.shape[1])]) for z in (q, p)]
    score, drifted, _ = model(bootstrap=len(p) < 1000)(*frames)
    return float(score), float(drifted)


PEERS = {"alibi_detect": alibi_detect, "evidently": evidently}


def main():
    with open(sys.argv[1]) as file:
        work = json.load(file)
    now = process_time if work["cpu"] else perf_counter
    import torch

    print(
        f"peers: alibi-detect {version('alibi-detect')} ({PERMUTATIONS} permutations), "
        f"evidently {version('evidently')}, numpy {np.__version__}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} thread(s)",
        flush=True,
    )
    warm = np.random.default_rng(0).normal(size=(2, 60, 8)).astype(np.float32)
    for peer in PEERS.values():  # imports and first calls are not timed
        peer(warm[0], warm[1], 0)
    for job in work["jobs"]:
        with np.load(job["rows"], allow_pickle=False) as file:
            ps, qs = file["p"], file["q"]
        out = {}
        for name, peer in PEERS.items():
            answers, times = [], []
            for seed, (p, q) in enumerate(zip(ps, qs, strict=True)):
                start = now()
                answers.append(peer(p, q, seed))
                times.append(now() - start)
            out[name], out[f"{name}_s"] = np.array(answers), np.array(times)
        np.savez(job["out"], **out)


if __name__ == "__main__":
    main()
