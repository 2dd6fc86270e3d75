"""A web page that has messages ciphered by workers: `python -m examples.ciphers`.

A message is stored in Elasticsearch, and four tasks are enqueued for it, one for each cipher. The
workers write what comes out to the message; the page shows it as it comes.
"""
