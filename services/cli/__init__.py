"""What the commands of both sides share: options, and how they speak."""
