"""`auditor doctor`: does this machine, and the cluster, have what an audit needs?"""

from jobs.doctor.checks import examine, exit_code, table

__all__ = ["examine", "exit_code", "table"]
