"""Frozen values, the transition table, errors and events. No I/O, no clock; imports only msgspec."""
