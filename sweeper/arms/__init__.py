"""Arms: what a sweep trains beside its grid, and why. Each proposes cells; none of them runs any."""
