"""Networks and losses, as torch modules."""
