"""The script of a text."""

import pytest

from auditor.profiles.scripts import script


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is red?", "latin"),
        ("Ποιο είναι κόκκινο;", "greek"),
        ("红色的是什么？", "cjk"),
        ("무엇이 빨간가요?", "hangul"),
        ("क्या लाल है?", "devanagari"),
        ("ما هو الأحمر؟", "arabic"),
        ("Что красное? ok", "cyrillic"),
        ("12 + 4 = ?", None),
        ("", None),
    ],
)
def test_most_letters_tell(text, expected):
    assert script(text) == expected
