"""Do two models lose what they know when the pictures change? An audit of answers that were recorded before.

python examples/audit_in_python.py

The records are of the lab, a small rendered world, and have the lab's own encoders. For photographs name
others, such as `efficientnet-lite0` and `minilm`.
"""

import auditor
from auditor.lab.world import lab_items

ENCODERS = {"image": "lab", "text": "lab"}


def records(n, seed, pool="id"):
    """Pictures, each with a question, the right answer, and what two models said."""
    for i, item in enumerate(lab_items(n, seed=seed, pool=pool)):
        yield {
            "record_id": item.record_id,
            "image": item.image,  # bytes; a path, or a PIL image, would do as well
            "query": item.query,
            "reference": item.reference,
            "responses": {
                "careful": item.reference if i % 10 else "I do not know.",
                "careless": item.reference if i % 2 else "A red square.",
            },
        }


report = auditor.audit(
    list(records(120, seed=1)),
    {
        "blurred": {"shifts": [{"shift": "blur", "severity": 5}]},  # made of the reference records
        "other scenes": list(records(120, seed=2, pool="natural")),  # or records of your own
    },
    models=["careful", "careless"],
    encoders=ENCODERS,
    critic={"seeds": 2, "steps": 200, "hidden": 32},
    seed=7,
)
columns = ["scenario", "model", "n", "emi", "emid", "image_excess", "image_p_adjusted"]
print(report.to_frame()[columns].to_string())

# May the careless model take the place of the careful one, if 0.05 nats may be lost?
print(auditor.compare(report, "careless", current="careful", margin=0.05).because)
