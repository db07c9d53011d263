"""What an image says about itself: A1111's infotext for every reader, and our own key, which is exact."""
