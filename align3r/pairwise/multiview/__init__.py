"""Networks that see many frames at once, or one after the other, as pair predictors."""
