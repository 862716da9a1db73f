"""What operators see: health, metrics, the records' API, log-in, the console's files, the playground."""
