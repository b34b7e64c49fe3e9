"""Is this week's traffic still like the traffic that the assistant was tested on? From two pandas tables.

python examples/drift_from_dataframe.py
"""

import random

import pandas

import auditor

PRODUCTS = ("kettle", "lamp", "toaster", "radio", "blender", "fan", "heater", "printer", "router", "camera")
SUPPORT = ("How do I reset my {}?", "My {} makes a strange noise.", "Where is the switch of the {}?")
BILLING = ("Why was I charged twice for the {}?", "Please send the invoice of my {}.", "Refund my {} now.")


def traffic(questions, rows, first_day, seed):
    """A table with a row a question, as a log of an assistant might hold it."""
    draw = random.Random(seed)
    products = [draw.choice(PRODUCTS) for _ in range(rows)]
    return pandas.DataFrame(
        {
            "record_id": [f"{first_day}-{i}" for i in range(rows)],
            "query": [draw.choice(questions).format(product) for product in products],
            "responses": [{"assistant": f"See the manual of your {product}."} for product in products],
            "timestamp": pandas.date_range(first_day, periods=rows, freq="20min", tz="UTC"),
        }
    )


reference = traffic(SUPPORT, 240, "2026-03-02", seed=1)
this_week = pandas.concat(
    [traffic(SUPPORT, 72, "2026-03-09", seed=2), traffic(BILLING, 72, "2026-03-10", seed=3)]
)

# Learned once, and kept where `out` says. There are no images here, so no encoder of images is named.
baseline = auditor.build_baseline(
    reference, encoders={"text": "minilm", "image": None}, critic={"seeds": 1, "steps": 50}
)

# A row of the report for each day: on the second one the customers ask about something else.
report = auditor.drift(baseline, this_week, window="1d")
print(report.to_frame()[["scenario", "n", "text_excess", "text_p_adjusted", "verdict"]].to_string())
print(report.verdict.because)
