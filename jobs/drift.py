"""This job compares windows of traffic with a baseline.

python -m jobs.drift --baseline DIR --traffic GLOB --out DIR
"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("drift")
