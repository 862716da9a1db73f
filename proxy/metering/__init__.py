"""What a request used and what it costs: usage from replies, prices, cost. Pure; money is Decimal, never float."""
