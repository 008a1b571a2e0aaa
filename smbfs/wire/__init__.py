"""Message layouts: bytes to and from frozen typed values, without state."""
