"""Tasques: task queues over a REST API, stored in Elasticsearch."""
