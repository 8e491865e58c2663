"""What is at work, on the screen: where each run is, how long the rest will take."""
