"""Datasets: what is in them, what is wrong with them, and how they reach a network."""
