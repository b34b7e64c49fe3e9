"""These modules surround a job on the command line: its settings, progress, log and metrics."""
