"""The rules of tasks: pure functions and immutable values, standard library only.

Nothing in here reads a clock, draws a random number or knows where tasks are kept: instants,
random sources and ids are arguments. A move on a task returns a new task or raises one of
`tasques.domain.errors`.
"""
