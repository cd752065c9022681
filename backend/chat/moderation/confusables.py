"""Characters by what they look like; made by scripts/make_confusables.py, not by hand."""

from __future__ import annotations

GROUPS: dict[str, str] = {
    "'": ("`\xb4\u02b9\u02bc\u2018\u2019\u201a\u201b\u2032"),
    "-": ("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58"),
    ".": ("\xb7\u2022\u2024\u2219\u22c5\u3002\u30fb\uff61"),
    "/": ("\u2044\u2215\u29f8"),
    "@": ("\uff20"),
    "a": (
        "\u023a\u0250\u0251\u0252\u0391\u03b1\u0410\u0414\u0430\u0434\u04d9\u13aa\u1d00\u1d44"
        "\u1d45\u1d8f\u1d90\u1d9b\u1e9a\u20b3\u2200\u2c65\u2c6d\u2c6f\u2c70\u2c80\u2c81\ua4ee"
        "\uab30\uab64\U0001f150\U0001f170\U0001f1e6"
    ),
    "aa": ("\ua732\ua733\U00010780"),
    "ae": ("\xc6\xe6\u01e2\u01e3\u01fc\u01fd\u1d01\u1d02\u1d2d\u1d46\U00010783"),
    "ao": ("\ua734\ua735"),
    "au": ("\ua736\ua737"),
    "av": ("\ua738\ua739\ua73a\ua73b"),
    "ay": ("\ua73c\ua73d"),
    "b": (
        "\u0180\u0181\u0182\u0183\u0243\u0253\u0299\u0392\u03b2\u0411\u0412\u042c\u0431\u0432"
        "\u044c\u0e3f\u13f4\u1d03\u1d2f\u1d5d\u1d6c\u1d80\u20bf\u2c82\u2c83\ua4d0\ua796\ua797"
        "\ua7b4\ua7b5\U00010784\U00010785\U0001f151\U0001f171\U0001f1e7"
    ),
    "c": (
        "\u0187\u0188\u023b\u023c\u0255\u0297\u03f2\u03f9\u0421\u0441\u04aa\u04ab\u13df\u1d04"
        "\u1d9d\u20b5\u2184\u2201\u2ca4\u2ca5\ua4da\ua73e\ua73f\ua792\ua793\ua794\ua7c4"
        "\U0001df0f\U0001df1d\U0001f152\U0001f172\U0001f1e8"
    ),
    "d": (
        "\xd0\xf0\u0110\u0111\u018a\u018b\u018c\u01c5\u01f2\u0221\u0256\u0257\u03b4\u0500"
        "\u0501\u13a0\u1d05\u1d06\u1d6d\u1d81\u1d91\u1d9e\u20ab\ua4d3\ua779\ua77a\ua7c7\ua7c8"
        "\U0001078b\U0001078c\U0001078d\U0001f153\U0001f173\U0001f1e9"
    ),
    "e": (
        "\u018e\u018f\u0190\u01dd\u0246\u0247\u0258\u0259\u025a\u025b\u025c\u025d\u025e\u029a"
        "\u0395\u03b5\u03f5\u0404\u0415\u042d\u0435\u044d\u0454\u04bd\u13ac\u1d07\u1d08\u1d32"
        "\u1d4a\u1d4b\u1d4c\u1d92\u1d93\u1d94\u1d95\u1d9f\u212e\u2203\u2208\u2211\u2c78\u2c7b"
        "\ua4f0\ua7ab\uab32\uab33\uab34\U0001078e\U0001078f\U0001f154\U0001f174\U0001f1ea"
    ),
    "f": (
        "\u0191\u0192\u025f\u03dc\u03dd\u0492\u0493\u0584\u1d6e\u1d82\u20a3\ua4dd\ua730\ua77b"
        "\ua77c\ua798\ua799\U0001f155\U0001f175\U0001f1eb"
    ),
    "g": (
        "\u0193\u01e4\u01e5\u0260\u0261\u0262\u029b\u050c\u050d\u0581\u13c0\u1d77\u1d79\u1d83"
        "\u1da2\u20b2\ua4d6\ua77d\ua77e\ua77f\ua7a0\ua7a1\ua7ac\ua7d0\ua7d1\uab36\U00010792"
        "\U00010793\U00010794\U0001df01\U0001df02\U0001f156\U0001f176\U0001f1ec"
    ),
    "h": (
        "\u0126\u0127\u0265\u0266\u029c\u02ae\u02af\u02b1\u0397\u041d\u043d\u04a2\u04a3\u04a4"
        "\u04a5\u04ba\u04bb\u0570\u13bb\u1da3\u2c67\u2c68\u2c8e\ua4e7\ua78d\ua795\ua7aa\ua7f8"
        "\U00010795\U00010796\U0001f157\U0001f177\U0001f1ed"
    ),
    "hv": ("\u0195"),
    "i": (
        "\u0131\u0196\u0197\u0268\u0269\u026a\u0399\u03b9\u0406\u0456\u04c0\u04cf\u13a5\u1d09"
        "\u1d4e\u1d7c\u1d96\u1da4\u1da5\u1da6\u1da7\u2223\u2c92\ua4f2\ua7ae\U0001df1a"
        "\U0001f158\U0001f178\U0001f1ee"
    ),
    "j": (
        "\u0237\u0248\u0249\u0284\u029d\u0408\u0458\u13ab\u1d0a\u1da1\u1da8\ua4d9\ua7b2"
        "\U00010798\U0001f159\U0001f179\U0001f1ef"
    ),
    "k": (
        "\u0198\u0199\u029e\u039a\u03ba\u041a\u043a\u049b\u049c\u049d\u049e\u049f\u04a0\u04a1"
        "\u04c3\u04c4\u13e6\u1d0b\u1d84\u20ad\u2c69\u2c6a\u2c94\ua4d7\ua740\ua741\ua742\ua743"
        "\ua744\ua745\ua7a2\ua7a3\ua7b0\U0001df03\U0001df10\U0001f15a\U0001f17a\U0001f1f0"
    ),
    "l": (
        "\u013f\u0140\u0141\u0142\u019a\u01c8\u0234\u023d\u026b\u026c\u026d\u029f\u056c\u05df"
        "\u13de\u1d0c\u1d85\u1da9\u1daa\u1dab\u20a4\u2c60\u2c61\u2c62\ua4e1\ua746\ua747\ua748"
        "\ua749\ua780\ua781\ua78e\ua7ad\uab37\uab38\uab39\uab5d\uab5e\U0001079b\U0001079c"
        "\U0001079d\U0001df04\U0001df11\U0001df13\U0001f15b\U0001f17b\U0001f1f1"
    ),
    "m": (
        "\u019c\u026f\u0270\u0271\u039c\u041c\u043c\u13b7\u1d0d\u1d1f\u1d5a\u1d6f\u1d86\u1dac"
        "\u1dad\u20a5\u2c6e\u2c98\ua4df\ua7fa\uab3a\U0001f15c\U0001f17c\U0001f1f2"
    ),
    "n": (
        "\u014a\u014b\u019d\u019e\u01cb\u0220\u0235\u0272\u0273\u0274\u039d\u03b7\u0418\u041f"
        "\u0438\u043f\u0578\u057c\u1d0e\u1d3b\u1d51\u1d70\u1d87\u1dae\u1daf\u1db0\u20a6\u2229"
        "\u2c9a\ua4e0\ua790\ua791\ua7a4\ua7a5\uab3b\uab3c\U0001df07\U0001df14\U0001f15d"
        "\U0001f17d\U0001f1f3"
    ),
    "o": (
        "\xa4\xd8\xf8\u0186\u019f\u01fe\u01ff\u0254\u0275\u039f\u03b8\u03bf\u041e\u043e\u0472"
        "\u0473\u04e8\u04e9\u0555\u0585\u13a4\u1d0f\u1d10\u1d11\u1d12\u1d13\u1d16\u1d17\u1d53"
        "\u1d54\u1d55\u1d97\u1db1\u25cb\u25ef\u2b55\u2c7a\u2c9e\u2c9f\ua4f3\ua74a\ua74b\ua74c"
        "\ua74d\uab3d\uab3e\uab3f\U000107a2\U0001df1b\U0001f15e\U0001f17e\U0001f1f4"
    ),
    "oe": ("\u0152\u0153\u0276\u1d14\uab40\uab41\uab42\uab62\U000107a3"),
    "oo": ("\ua74e\ua74f"),
    "ou": ("\u0222\u0223\u1d15\u1d3d"),
    "p": (
        "\xde\xfe\u01a4\u01a5\u01bf\u01f7\u03a1\u03c1\u0420\u0440\u048e\u048f\u13e2\u1d18"
        "\u1d71\u1d7d\u1d88\u20b1\u2c63\u2ca2\u2ca3\ua4d1\ua750\ua751\ua752\ua753\ua754\ua755"
        "\ua764\ua765\ua766\ua767\U0001f15f\U0001f17f\U0001f18a\U0001f1f5"
    ),
    "q": (
        "\u024a\u024b\u02a0\u051a\u051b\u0566\ua756\ua757\ua758\ua759\ua7af\U0001f160"
        "\U0001f180\U0001f1f6"
    ),
    "r": (
        "\u024c\u024d\u0279\u027a\u027b\u027c\u027d\u027e\u027f\u0280\u0281\u02b4\u02b5\u02b6"
        "\u0393\u0413\u042f\u0433\u044f\u0490\u0491\u13a1\u13d2\u1d19\u1d1a\u1d72\u1d73\u1d89"
        "\u20b9\u2c64\u2c79\ua4e3\ua75a\ua75b\ua782\ua783\ua7a6\ua7a7\uab46\uab47\uab49\uab4b"
        "\uab4c\uab68\U000107a6\U000107a7\U000107a8\U000107a9\U000107aa\U0001df08\U0001df15"
        "\U0001df16\U0001f161\U0001f181\U0001f1f7"
    ),
    "s": (
        "\u01a9\u023f\u0282\u0283\u0286\u03c2\u03c3\u0405\u0455\u054f\u13da\u1d74\u1d8a\u1d8b"
        "\u1d98\u1db3\u1db4\u1e9c\u1e9d\u2c7e\u2c8a\ua4e2\ua731\ua784\ua785\ua7a8\ua7a9\ua7c5"
        "\ua7c9\ua7ca\U000107ba\U0001df0b\U0001df0c\U0001df1e\U0001f162\U0001f182\U0001f1f8"
    ),
    "t": (
        "\u0166\u0167\u01ab\u01ac\u01ad\u01ae\u0236\u023e\u0287\u0288\u03a4\u03c4\u0422\u0442"
        "\u13a2\u1d1b\u1d75\u1db5\u20ae\u20b8\u22a4\u2c66\u2ca6\ua4d4\ua786\ua787\ua7b1"
        "\U000107af\U0001df09\U0001df0d\U0001f163\U0001f183\U0001f1f9"
    ),
    "tz": ("\ua728\ua729"),
    "u": (
        "\u01b1\u0244\u0289\u028a\u03bc\u03c5\u0446\u054d\u057d\u1d1c\u1d1d\u1d59\u1d7e\u1d7f"
        "\u1d99\u1db7\u1db8\u222a\u22c3\ua4f4\ua7b8\ua7b9\uab4e\uab52\uab5f\U0001f164"
        "\U0001f184\U0001f1fa"
    ),
    "v": (
        "\u01b2\u0245\u028b\u028c\u03bd\u0474\u0475\u13d9\u1d20\u1d8c\u1db9\u1dba\u221a\u2228"
        "\u22c1\u2c71\u2c74\ua4e6\ua75e\ua75f\U000107b0\U0001f165\U0001f185\U0001f1fb"
    ),
    "vy": ("\ua760\ua761"),
    "w": (
        "\u0277\u028d\u03c9\u0429\u0448\u051c\u051d\u0561\u13b3\u1d21\u20a9\u2c72\u2c73\ua4ea"
        "\ua7b6\ua7b7\uab69\U000107a4\U0001f166\U0001f186\U0001f1fc"
    ),
    "x": (
        "\xd7\u03a7\u03c7\u0416\u0425\u0436\u0445\u04b3\u1d61\u1d8d\u2715\u2716\u274c\u2cac"
        "\u2cad\ua4eb\ua7b3\uab53\uab54\uab55\uab56\uab57\uab58\uab59\U0001f167\U0001f187"
        "\U0001f1fd"
    ),
    "y": (
        "\u0194\u01b3\u01b4\u024e\u024f\u0263\u028e\u028f\u02e0\u03a5\u03b3\u0423\u0443\u04ae"
        "\u04af\u1efe\u1eff\u2ca8\ua4ec\uab5a\U000107a0\U000107a1\U000107b2\U0001df06"
        "\U0001f168\U0001f188\U0001f1fe"
    ),
    "z": (
        "\u01b5\u01b6\u01b7\u01ba\u01ee\u01ef\u0224\u0225\u0240\u0290\u0291\u0292\u0293\u0396"
        "\u03b6\u0499\u13c3\u1d22\u1d23\u1d76\u1d8e\u1d9a\u1dbc\u1dbd\u1dbe\u2c6b\u2c6c\u2c7f"
        "\ua4dc\ua7c6\U0001df18\U0001f169\U0001f189\U0001f1ff"
    ),
    "|": ("\xa6\u01c0\u2016"),
}
"""What it looks like, and the characters that do."""

LOOKS_LIKE: dict[str, str] = {char: plain for plain, chars in GROUPS.items() for char in chars}
