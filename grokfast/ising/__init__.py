"""Ising lattices."""
