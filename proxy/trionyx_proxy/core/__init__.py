"""Decisions as values: frozen state and events in, next state and effects out; no I/O of any kind."""
