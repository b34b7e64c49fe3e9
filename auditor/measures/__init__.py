"""Measures: one profile held against another, term by term, and the verdict. May import every room but
report, pipeline and lab."""
