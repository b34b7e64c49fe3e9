"""Generators answer prompts: models on this machine, vLLM's engine, or an endpoint. May import the rooms
up to `encoders`.

A new generator is one file with `@generator("name")` above the function that makes it.
"""

from auditor.generators.registry import generator, generator_names, make_generator

__all__ = ["generator", "generator_names", "make_generator"]
