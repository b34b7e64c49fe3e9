"""Risk estimates EMID where the new records have no correct answers, and says which estimate is reported.
May import the rooms up to `emi`.

One assumption throughout: Y given X is the same on P and Q. No number here can test it.
"""

from auditor.risk.identified import IdentifiedInterval, identified_interval
from auditor.risk.method import Ceiling, Choice, choose_method
from auditor.risk.overlap import Overlap, Support, measure_overlap
from auditor.risk.reweighted import ReweightedEmid, reweighted_emid
from auditor.risk.sound import SoundLabelFree, sound_label_free

__all__ = [
    "Ceiling",
    "Choice",
    "IdentifiedInterval",
    "Overlap",
    "ReweightedEmid",
    "SoundLabelFree",
    "Support",
    "choose_method",
    "identified_interval",
    "measure_overlap",
    "reweighted_emid",
    "sound_label_free",
]
