"""Put a bundle to work with onnxruntime alone: torch is never imported here."""
