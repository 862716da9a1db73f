"""multipart/form-data in flight. Pure: bytes in, fields and bytes out; no I/O, no clock."""
