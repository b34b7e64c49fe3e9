"""Make report.html and report.json again from a store.

python -m jobs.report --out DIR
"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("report")
