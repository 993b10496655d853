"""Files that describe a cluster: looked at before anything is started, and handed to Ray with the small things done."""
