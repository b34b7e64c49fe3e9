"""Generators: prompts in, answers out. `make_generator({"generator": "transformers", "model": NAME})`.

A new generator is one file with `@generator("name")` above the function that makes it.
"""

from auditor.generators.registry import generator, generator_names, make_generator

__all__ = ["generator", "generator_names", "make_generator"]
