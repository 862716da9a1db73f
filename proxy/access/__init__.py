"""Who is calling and what they may do: gateway keys, and hosts that a request may name. Pure."""
