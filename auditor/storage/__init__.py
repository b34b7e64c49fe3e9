"""What lies on disk: the run directory, files that are whole or not there, and caches of embeddings and
answers. May import errors, protocols and registry alone."""
