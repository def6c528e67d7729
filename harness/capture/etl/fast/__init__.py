# SPDX-License-Identifier: MIT
"""The compiled reader: merges, counts and prints the records of a log as the rest of ``etl`` does, in C.

It is optional. ``library`` loads the compiled sources of this folder, ``program`` translates a plan for the compiled
part, ``reader`` drives it. The C code returns to Python whatever it cannot print exactly as Python does.
"""
