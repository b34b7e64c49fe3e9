"""Transformers against vLLM on the lab's model: the same prompts, tokens a second of each, equal answers.

Both in one process and turn by turn, so that neighbours slow them alike; every turn has prompts of its own,
or vLLM would find their prefixes in its cache. Needs both engines for the comparison (`make setup-vllm`):

    .venv-vllm/bin/python benchmarks/bench_generation.py [--quick] [--cpu]

Where vllm is not installed transformers is measured alone.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec

THREADS = 1
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))  # before torch is loaded

import transformers  # noqa: E402
from _shared import machine, now, options  # noqa: E402

from auditor.generators import make_generator  # noqa: E402
from auditor.lab.world import lab_items  # noqa: E402
from auditor.protocols import Generator  # noqa: E402
from schemas.response import Answer, Prompt  # noqa: E402

MODEL = "lab:mllm-strong"
LONGEST = 24
TURNS = 4


def prompts(n: int, turn: int) -> list[Prompt]:
    """Questions about pictures, half of them of the natural pool."""
    pools = ("id", "natural")
    return [
        Prompt((item.image,), item.query)
        for pool in pools
        for item in lab_items(n // len(pools), seed=100 + turn, pool=pool)
    ]


def main() -> None:
    arguments = options(__doc__).parse_args()
    now.cpu = arguments.cpu
    n, turns = (32, 2) if arguments.quick else (256, TURNS)
    names = ["transformers", *(["vllm"] if find_spec("vllm") else [])]
    print(machine())
    engines: dict[str, Generator] = {}
    for name in names:
        engine = make_generator(
            {"generator": name, "model": MODEL, "max_new_tokens": LONGEST}, threads=THREADS
        )
        began = now()
        engine.generate(prompts(8, turn=-1), seed=0)  # vLLM's engine starts here
        print(f"{name:14s} started and warm after {now() - began:.1f} s")
        engines[name] = engine
    print(f"transformers {transformers.__version__}" + _vllm_version())

    seconds = dict.fromkeys(names, 0.0)
    tokens = dict.fromkeys(names, 0)
    answers: dict[str, list[Answer]] = {name: [] for name in names}
    for turn in range(turns):
        asked = prompts(n, turn)
        for name in names if turn % 2 == 0 else names[::-1]:
            began = now()
            given = engines[name].generate(asked, seed=0)
            seconds[name] += now() - began
            tokens[name] += sum(sum(answer.tokens) for answer in given)
            answers[name] += given
    print(
        f"{turns} turns of {n} prompts with an image each (64 tokens of it), at most {LONGEST} tokens, greedy"
    )
    print(f"{'':14s} {'tokens/s':>10s} {'prompts/s':>10s} {'tokens':>8s} {'failed':>7s}")
    for name in names:
        failed = sum(answer.error is not None for answer in answers[name])
        print(
            f"{name:14s} {tokens[name] / seconds[name]:10.1f} {turns * n / seconds[name]:10.1f} "
            f"{tokens[name]:8d} {failed:7d}"
        )
    if len(names) < 2:
        print("vllm is not installed: make setup-vllm, and run this with .venv-vllm/bin/python")
        return
    _compare(*answers.values())


def _compare(one: Sequence[Answer], other: Sequence[Answer]) -> None:
    pairs = list(zip(one, other, strict=True))
    equal = [a.logprobs[0] - b.logprobs[0] for a, b in pairs if a.texts and a.texts == b.texts]
    print(f"equal answers: {len(equal)} of {len(pairs)} ({len(equal) / len(pairs):.2%})")
    print(f"log p of equal answers differs by at most {max(map(abs, equal)):.1e}")
    for a, b in [(a, b) for a, b in pairs if a.texts != b.texts][:5]:
        print(f"  {a.texts} {a.logprobs} {a.error or ''} | {b.texts} {b.logprobs} {b.error or ''}")


def _vllm_version() -> str:
    if not find_spec("vllm"):
        return ""
    import vllm

    return f", vllm {vllm.__version__}"


if __name__ == "__main__":
    main()
