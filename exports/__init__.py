"""Accepted pairs -> files that public training code reads.

    Record ... -> get_format(name).write(records, out) -> out/ + manifest.json -> verify(out)

One module per format; splits, digests and atomic writing are shared. Formats are pure functions of their records:
the same records and options give the same bytes.
"""
