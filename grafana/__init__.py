"""Grafana dashboards as code: ``python -m grafana`` writes dashboards/, ``python -m grafana --check`` compares.

The standard library is enough: what is written is Grafana's classic dashboard model (schema 39), which every Grafana
from 10 on loads. Nothing of this is in the wheel.
"""
