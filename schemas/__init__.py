"""Data contracts: what a record, a response, an embedding, a config and a report are.

Imports nothing else of this project.
"""
