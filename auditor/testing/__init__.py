"""This room holds contracts as tests that other packages can run on what they register. May import every
room.

    def test_my_encoder() -> None:
        check_encoder(make_encoder("mine", "text"))

Each `check_*` returns nothing, and raises AssertionError, which names the contract, where one is broken. A
new kind of contract is a file beside these.
"""

from auditor.testing.critics import check_critic
from auditor.testing.encoders import check_encoder
from auditor.testing.formats import check_format
from auditor.testing.generators import check_generator
from auditor.testing.graders import check_grader
from auditor.testing.readers import check_reader
from auditor.testing.sections import check_section
from auditor.testing.shifts import check_shift

__all__ = [
    "check_critic",
    "check_encoder",
    "check_format",
    "check_generator",
    "check_grader",
    "check_reader",
    "check_section",
    "check_shift",
]
