"""Workers do one unit of work after another. They do not know where they run."""
