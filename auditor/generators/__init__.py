"""Generators answer prompts: models on this machine, vLLM's engine, or an endpoint. May import the rooms
up to `encoders`."""

from auditor.generators.registry import generator_names, make_generator

__all__ = ["generator_names", "make_generator"]
