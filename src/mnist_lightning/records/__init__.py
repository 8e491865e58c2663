"""What a run leaves on the disk: its record, its predictions; durable writing and locks between processes."""
