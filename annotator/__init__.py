"""The application: what a person does with photographs, from the command line.

    cli -> service -> work (the pipeline, in worker processes) -> db rows + blobs -> report, exports

Knows the other packages; none of them knows it.
"""
