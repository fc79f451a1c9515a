"""Synthetic Suns for the data loaders of forecasting models."""
