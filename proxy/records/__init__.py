"""What happened: the record of a request, its line on stdout, its metrics. Nothing here knows of HTTP or of sockets."""
