"""The sans-I/O protocol engine: bytes in, events out; calls in, bytes out.

Nothing here awaits, logs, reads a clock or draws randomness.
"""
