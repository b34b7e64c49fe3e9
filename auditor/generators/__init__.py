"""Generators: prompts in, answers out. `make_generator({"generator": "transformers", "model": NAME})`."""

from auditor.generators.registry import generator_names, make_generator

__all__ = ["generator_names", "make_generator"]
