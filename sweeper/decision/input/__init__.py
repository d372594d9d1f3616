"""What a decision reads: the tidy table, checked, anchored and screened."""
