# SPDX-License-Identifier: MIT
"""The compiled reader: merges, counts and prints the records of a log as the rest of ``etl`` does, in C.

It is optional. ``library`` loads what a C compiler made of the sources in this folder, ``program`` makes of a plan what the
compiled part follows, ``reader`` drives it. What the C code cannot print exactly as Python does, it hands back.
"""
