"""Full training with piper.train's VITS."""
