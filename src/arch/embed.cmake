# SPDX-License-Identifier: Apache-2.0
# Turns the descriptor files into one C file: cmake -DOUT=x.c -DFILES="a.json;b.json" -P
# No other program is needed at build time.
set(table "")
set(text "/* SPDX-License-Identifier: Apache-2.0 */\n/* Made from src/arch/descriptors by embed.cmake. */\n#include \"arch/catalogue.h\"\n")
foreach(file IN LISTS FILES)
  get_filename_component(id ${file} NAME_WE)
  file(READ ${file} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)"
         "\\1\n" bytes "${bytes}")
  string(APPEND text "static const unsigned char data_${id}[] = {\n${bytes}\n};\n")
  string(APPEND table "    {\"${id}\", data_${id}, sizeof(data_${id})},\n")
  string(APPEND ids "    \"${id}\",\n")
endforeach()
list(LENGTH FILES n)
string(APPEND text "const struct ww_embedded ww_embedded[] = {\n${table}};\n")
string(APPEND text "const size_t ww_n_embedded = ${n};\n")
string(APPEND text "const char *const ww_embedded_ids[] = {\n${ids}    0,\n};\n")
file(WRITE ${OUT} "${text}")
