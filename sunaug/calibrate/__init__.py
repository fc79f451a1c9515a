"""Calibration: pure functions, one step each, from an image to an image.

The order is that of the AIA pipelines: quality, saturation (on raw counts), exposure, degradation, registration. After
the frames stand in a cube, `consistency` compares them with one another and finds the faulty ones.
"""
