"""A profile is the one mergeable value that is kept of a group of rows. This room makes profiles, and the
baseline that holds one. May import the rooms up to `scenarios`."""
