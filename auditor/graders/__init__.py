"""Graders say how right an answer is: from recorded scores, from references, or by a rule of the lab. May
import the rooms up to `shifts`.

    @grader("judge", JudgeSettings)
    class Judge: ...        # a `auditor.protocols.Grader`, made from its settings

A package of your own adds one through an entry point of the group `shift_auditor.graders`.
"""

from auditor.graders.choice import Choice, check_named, choose
from auditor.graders.grading import Score, scores
from auditor.graders.identity import grader_identity
from auditor.graders.registry import GRADERS, grader, make_grader
from auditor.registry import Settings

__all__ = [
    "GRADERS",
    "Choice",
    "Score",
    "Settings",
    "check_named",
    "choose",
    "grader",
    "grader_identity",
    "make_grader",
    "scores",
]
