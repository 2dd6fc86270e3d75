"""The use cases: what clients ask for, in terms of the domain and its ports."""
