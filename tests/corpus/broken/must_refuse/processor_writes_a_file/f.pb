
fxoutput_0