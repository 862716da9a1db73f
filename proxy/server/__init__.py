"""Listeners and their lives: the gateway, ops, reload, drain, workers. Only this room imports ``relay``."""
