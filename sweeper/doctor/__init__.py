"""What a sweep needs around it, looked at before hours are spent."""
