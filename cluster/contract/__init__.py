"""What a capability declares and is lent: the contract."""
