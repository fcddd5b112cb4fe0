"""What tasks on pictures share: where pictures come from, their patches, and sheets of them."""
