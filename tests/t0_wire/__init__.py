"""The bytes of every message and payload: exact, bounded, and never a surprise."""
