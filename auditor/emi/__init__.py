"""EMI and EMID with intervals, and the comparison of models by them (nats). May import sketch,
significance and estimators."""

from auditor.emi.estimates import LEAST_BLOCKS, block_weights, emi, emid, paired_bootstrap

__all__ = [
    "LEAST_BLOCKS",
    "block_weights",
    "emi",
    "emid",
    "paired_bootstrap",
]
