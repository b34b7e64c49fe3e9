"""Workers: what is done with one unit of work. They know nothing of where they run."""
