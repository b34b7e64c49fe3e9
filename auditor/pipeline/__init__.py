"""The pipeline takes a job from records to reports, by the same steps for every job, on the executor that
is handed in. It may import the rooms up to `report`."""
