"""Build a baseline from reference records.

python -m jobs.baseline --records FILE --out DIR
"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("baseline", "build")
