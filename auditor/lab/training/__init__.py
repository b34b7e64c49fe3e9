"""This room makes the lab's weights: one module per model, plain PyTorch loops that resume.

Nothing here is needed to *use* the lab; `jobs/train_lab.py` is the command that runs it.
"""
