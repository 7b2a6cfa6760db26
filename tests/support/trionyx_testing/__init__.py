"""Builders, recorders and reference models shared by the tests."""
