from jobs.cli import run_job

run_job("doctor")
