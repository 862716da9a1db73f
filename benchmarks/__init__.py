"""Benchmarks: what Audiogate costs, beside nginx and a bare aiohttp proxy, in the same run."""
