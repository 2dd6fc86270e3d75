"""Tasques in Elasticsearch: what is stored, and how it is read and written.

Protocol, for whoever changes something here:

* Everything is reached through aliases, with `require_alias`: a missing alias is an error and
  never an index that was made by accident. `setup` makes aliases, indices and templates.
* A task is one document, `_id` = `<queue>:<id>` (a queue name has no colon). Every write is
  either create-only or conditional on the version that was read (`if_seq_no`, `if_primary_term`).
* Every document has a `write_id`, new with each write, and an `incarnation` for good. They tell
  our own write from somebody else's when an answer was lost: see `tasks.py`.
* Single writes and reads by id are never sent one by one, but coalesced: see `bulk.py` and
  `reads.py`. Reads by id see the latest write; searches see what the last refresh saw.
* No write asks for a refresh.
* A newer Tasques may add members at the top level of a document; whoever does not know them
  writes them back unchanged.
"""
