"""Who somebody is: `keys` makes keys and recognises them, `pepper` is the secret they are hashed with."""
