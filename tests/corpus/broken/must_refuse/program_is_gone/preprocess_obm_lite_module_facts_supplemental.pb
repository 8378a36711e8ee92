
1.15.0
shape_assertion
builtin.module
	func.call
	func.func
func.return
stablehlo.compare
stablehlo.concatenate
stablehlo.constant
stablehlo.custom_call
stablehlo.divide&
"stablehlo.dynamic_broadcast_in_dim 
stablehlo.get_dimension_size
stablehlo.reshape 