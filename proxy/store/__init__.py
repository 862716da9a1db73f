"""Where records are kept, and what one may ask of them."""
