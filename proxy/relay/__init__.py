"""One request, top to bottom: upload, attempt, reply. The only room that talks to upstreams."""
