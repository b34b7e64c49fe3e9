"""Measures compare one profile with another, term by term, and reach the verdict. May import the rooms up
to `profiles`."""
