"""The shipped Rego bundle, the engines that evaluate it, and the tools of policy authors."""
