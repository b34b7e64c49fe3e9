"""Sections of the page, a file each: what of the report it shows, and how that is written."""
