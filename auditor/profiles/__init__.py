"""Profiles: the one mergeable value that is kept of a group of rows, and how it is made. May import
scenarios, storage, sketch, estimators and bounds."""
