"""Every optimizer of pytorch_optimizer as `po_<name>`."""
