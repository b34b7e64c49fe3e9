"""Audit of distribution shift for multimodal LLMs (effective mutual information, Oh et al., ICML 2025).

Everything in this package is true without a cluster: it never imports ray.
"""

__version__ = "0.1.0"
