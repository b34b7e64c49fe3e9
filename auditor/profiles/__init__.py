"""Profiles: the one mergeable value that is kept of a group of rows, how it is made, and the baseline
that holds one. May import the rooms up to `scenarios`."""
