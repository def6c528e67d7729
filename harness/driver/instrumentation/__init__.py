# SPDX-License-Identifier: MIT
"""The compiler of instrumentation manifests: from XML to the resources by which Windows decodes a provider's events.

::

    source -> reader, fields (checked by attributes, vocabulary, rules) -> model -> message_ids
    model  -> message_table, wevt_template (binary_xml) -> resource_file

The output is deterministic, and equal to that of Microsoft's message compiler (mc.exe 10.0.26100, ``-um``).
"""
