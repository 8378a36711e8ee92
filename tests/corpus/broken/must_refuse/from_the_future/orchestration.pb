

preprocessserving_defaultweights