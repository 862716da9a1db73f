"""What differs between upstreams: URL, credentials, form fields. Pure: a target in, an outbound request out."""
