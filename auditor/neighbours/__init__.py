"""Nearest neighbours of rows, and what is made of them: partitions of natural pools, and codebooks. May
import the rooms up to `sketch`."""
