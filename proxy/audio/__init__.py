"""What the bytes say: the container by its first bytes. Pure: bytes in, facts out; no I/O, no clock."""
