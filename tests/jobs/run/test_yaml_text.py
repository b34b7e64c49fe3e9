"""YAML: keys are texts as they are written, and none is given twice."""

from datetime import date

import pytest
import yaml

from jobs.run.yaml_text import BadKey, load_yaml


def test_keys_are_texts_as_they_are_written():
    assert load_yaml("2025-06-01: 1\nno: 2\n12: 3\n1.10: 4\nday: 2025-06-01\n") == {
        "2025-06-01": 1,
        "no": 2,
        "12": 3,
        "1.10": 4,
        "day": date(2025, 6, 1),
    }


def test_what_is_merged_may_be_given_again():
    assert load_yaml("a: &x {b: 1, c: 2}\nd:\n  <<: *x\n  b: 3\n")["d"] == {"b": 3, "c": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nmodels: []\nseed: 2\n", "the key seed is given twice, in lines 1 and 3"),
        ("data: {id: a, id: b}\n", "the key id is given twice, in line 1"),
        ("1: a\n'1': b\n", "the key 1 is given twice"),
        ("a: 1\n[b]: 2\n", "the key in line 2 is no text"),
    ],
)
def test_a_key_that_stands_twice_or_is_no_text_is_refused(text, message):
    with pytest.raises(BadKey, match=message):
        load_yaml(text)


def test_no_object_of_python_is_made():
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.system ['true']")
