"""The pipeline: the same steps for every job, on whichever executor is handed in. May import every room
but lab."""
