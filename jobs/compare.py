"""Is one model no worse than another by more than a margin? The report of a finished audit tells.

python -m jobs.compare DIR --new NAME --margin 0.05
"""

from jobs.cli import run_job

if __name__ == "__main__":
    run_job("compare")
