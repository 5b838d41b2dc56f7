"""What `spillway bench` measures of local models: speed, and quality by tasks."""
