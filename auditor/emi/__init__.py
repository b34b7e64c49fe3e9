"""EMI and EMID with their intervals, and the comparison of models by them (nats). May import the rooms up
to `bounds`."""

from auditor.emi.estimates import LEAST_BLOCKS, block_weights, effective_blocks, emi, emid, paired_bootstrap

__all__ = [
    "LEAST_BLOCKS",
    "block_weights",
    "effective_blocks",
    "emi",
    "emid",
    "paired_bootstrap",
]
