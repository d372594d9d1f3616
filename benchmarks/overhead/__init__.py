"""Study: what a sweep costs beside training and scoring."""
