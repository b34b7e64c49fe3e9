"""The pipeline takes a job from records to reports, by the same steps for every job, on the executor that
is handed in. May import the rooms up to `report`."""
