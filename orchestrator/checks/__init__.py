"""What `promptmill doctor` looks at on the user's side. Each check yields findings and raises nothing of ours."""
