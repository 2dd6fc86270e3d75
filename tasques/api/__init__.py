"""Tasks over HTTP.

The contract is that of the first Tasques: clients made for it work unmodified. The task routes
are hot, so they are lean (`lean_route`): FastAPI matches and documents them, and what runs is a
plain function from bytes to bytes. Whatever is not hot is ordinary FastAPI.
"""
