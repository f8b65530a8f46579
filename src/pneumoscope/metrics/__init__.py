"""Figures of merit, each after its published definition; numpy only."""
