
1.15.0
shape_assertion
builtin.module
	func.call
	func.func
func.return
stablehlo.add
stablehlo.broadcast_in_dim
stablehlo.compare
stablehlo.concatenate
stablehlo.constant
stablehlo.custom_call
stablehlo.dot_general&
"stablehlo.dynamic_broadcast_in_dim 
stablehlo.get_dimension_size
stablehlo.reshape 