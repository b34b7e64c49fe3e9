"""What lies on disk: the run directory, files that are whole or not there, caches of embeddings and answers.
Imports only errors and protocols."""
