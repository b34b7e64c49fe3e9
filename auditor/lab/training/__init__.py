"""How the lab's weights are made: one module per model, plain PyTorch loops that resume.

Nothing here is needed to *use* the lab; `jobs/train_lab.py` is the command that runs it.
"""
