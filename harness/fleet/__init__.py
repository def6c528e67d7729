# SPDX-License-Identifier: MIT
"""The fleet: the cells of a nightly run on many hosts, by dask.distributed."""
