"""Work that survives us, on one machine or many: the only package that knows the durable engine (DBOS).

queue.py      puts work into the engine: reviewers' jobs, and photos in chunks
worker.py     one slot that carries it out; slots.py: several, each a process that is started again when it dies
reviews.py    what a reviewer asked for: compute, publish
bulk.py       photos in chunks: enqueue, carry out, watch
outages.py    what is no fault of the work: no try of it, and done again
versions.py   what waits for workers of another version
heartbeat.py  who lives, and who takes up what the dead had begun

A review and its job are one transaction, and so are photos and their chunk. Whatever runs here runs at least once and
counts once: a row moves forward only, and the transaction that ends it writes the revision. A newer edit of the same
pair supersedes the older job. The engine keeps its tables beside ours; what a user is told comes from our own rows.
"""

from annotator.jobs.queue import JobQueue
from annotator.jobs.worker import JobWorker

__all__ = ["JobQueue", "JobWorker"]
