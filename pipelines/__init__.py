"""The steps of sunaug composed with Dask, ready to be run from the command line or on a schedule."""
