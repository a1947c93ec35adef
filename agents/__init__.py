"""What runs on a host of the farm."""
