"""What is known about every photo: rows in SQLite or PostgreSQL, bytes in a content-addressed store.

    photo 1-n pair 1-n revision n-m artifact (bytes in `blobs.py`)
                       revision 1-n review
    export (a snapshot that was published)

`session.py` opens the database, `repositories/` holds the queries, `migrate.py` brings the schema up to date.
Nothing here knows the pipeline or the application.
"""
