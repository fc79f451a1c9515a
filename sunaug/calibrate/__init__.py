"""Calibration: pure functions, one step each, from a frame to a frame."""
