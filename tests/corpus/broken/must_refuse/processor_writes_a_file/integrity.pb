
*
f.pb óYèjå@;ùgìŒa“Š5
‰…_,Ÿƒù†âöm
2
manifest.pbş cÖµšw€Wgk_v	B™
eCšÇ´j~¬Ç7
C
tf_saved_model/fingerprint.pbc ”·@ZŒß¦4€{íùó£6<¶k€™D“ü÷ËBõ·Aî
D
tf_saved_model/saved_model.pb¡? ÔÛn+¶©Õ¾¹í(êzÇËìO#]°€¿%ƒ
\
6tf_saved_model/variables/variables.data-00000-of-00001D 2‰`[ì5” ºş¦ycX*mÀç2
ÛC¤
O
(tf_saved_model/variables/variables.index vn>0Yaÿğ!¸ULÖ>T¢_Ûiğ»‡öBè	sha2561