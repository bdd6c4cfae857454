"""The Fisher information of a network."""
