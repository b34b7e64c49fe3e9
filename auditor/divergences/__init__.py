"""Divergences between two sets of rows, as pure functions of arrays or sketches (nats). May import the
rooms up to `neighbours`."""

from auditor.divergences.conditional import ConditionalDivergence, conditional_divergence
from auditor.divergences.fourier import FourierFeatures, fourier_features, rjsd_rbf
from auditor.divergences.joint import (
    JointDivergence,
    joint_divergence,
    joint_entropy,
    joint_rows,
    rjsd_joint,
    tensor_sketch,
)
from auditor.divergences.mean_discrepancy import mmd
from auditor.divergences.representation import rjsd
from auditor.divergences.spectrum import effective_rank, von_neumann_entropy

__all__ = [
    "ConditionalDivergence",
    "FourierFeatures",
    "JointDivergence",
    "conditional_divergence",
    "effective_rank",
    "fourier_features",
    "joint_divergence",
    "joint_entropy",
    "joint_rows",
    "mmd",
    "rjsd",
    "rjsd_joint",
    "rjsd_rbf",
    "tensor_sketch",
    "von_neumann_entropy",
]
