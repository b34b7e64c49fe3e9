"""Nearest neighbours, and what is made of them: partitions of natural pools, codebooks. May import sketch and
storage."""
