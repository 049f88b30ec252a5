"""Label Studio: the server we run or are connected to, what it is given, and what comes back.

install -> server_process (credentials, login) -> projects, tasks, predictions -> reviews -> reconcile
"""
