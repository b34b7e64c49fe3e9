"""The main job goes from records to a risk report. The same command again resumes.

python -m jobs.audit --config FILE.yaml --out DIR
"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("audit")
