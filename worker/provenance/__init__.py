"""What a film says of itself: content credentials, ingredients, receipts, and the verdict of a repetition."""
