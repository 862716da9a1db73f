"""What happened: the record of a request, and its line on stdout. Nothing here knows of HTTP or of sockets."""
