"""Fidelity: how close synthetic frames are to real ones, measured beside the real-against-real floor."""
