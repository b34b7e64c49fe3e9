"""Each section of the page is a file, which says what of the report it shows and how that is written."""
