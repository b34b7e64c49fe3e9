"""A profile for every day, made where the records are; a week is the sum of its days.

python examples/merge_daily_profiles.py

A profile holds sums and a small sample of vectors, no texts and no images: the records may be deleted.
"""

import random
import tempfile
from functools import reduce
from pathlib import Path

import auditor
from auditor.divergences import mmd

ANIMALS = ("horse", "cat", "whale", "eagle", "beetle", "trout", "otter", "falcon", "moth", "frog")
ASKED = ("What does a {} eat?", "Where does a {} live?", "How old does a {} get?")
LATER = ("Translate the word {} into French.", "Write a short poem about a {}.")


def day(name, questions, rows=60):
    """The records of one day."""
    draw = random.Random(name)
    for i in range(rows):
        animal = draw.choice(ANIMALS)
        yield {
            "record_id": f"{name}-{i}",
            "query": draw.choice(questions).format(animal),
            "responses": {"assistant": f"Here is what I know of the {animal}."},
        }


folder = Path(tempfile.mkdtemp())
baseline = auditor.build_baseline(
    day("reference", ASKED, 200), encoders={"text": "minilm", "image": None}, critic={"seeds": 1, "steps": 50}
)

# Every evening: the day's profile, in a file of its own.
for name in ("monday", "tuesday", "wednesday"):
    questions = LATER if name == "wednesday" else ASKED
    auditor.profile(day(name, questions), baseline=baseline, progress=False).save(folder / f"{name}.npz")

# On Sunday: read them, add them up, and see how far each is from the baseline (0 where nothing has moved,
# whatever the number of rows is).
days = {path.stem: auditor.Profile.load(path) for path in sorted(folder.glob("*.npz"))}
for name, profile in {**days, "week": reduce(auditor.Profile.merge, days.values())}.items():
    print(f"{name}: {profile.n} rows, {mmd(baseline.profile.sketches['text'], profile.sketches['text']):.4f}")
