raise RuntimeError("this app is broken")
