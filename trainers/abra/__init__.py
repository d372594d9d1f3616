"""The ABRA reconstruction for feature vectors: an angular-margin encoder trained against its own bio-batch effects."""
