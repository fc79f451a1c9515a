"""The service: samples to order over HTTP, with jobs that survive a restart. Needs the extra ``service``.

`settings` says what a service serves and how much, `access` who may ask, `database` holds keys, batches and sets in
tables, `queue` hands the sets out to workers, `results` keeps the files, `worker` and `supervisor` are the processes
that make them, `limits`, `logs` and `metrics` stand around every request, and `app` is the application (`routes` its
addresses, `schemas` what goes in and out).

A *batch* is what somebody asked for; a *set* is what has to be made for it. The same request of two keys is two batches
and one set.
"""
