# cmake -DINPUT=file -DOUTPUT=x.c -DHEADER=x.h -DNAME=symbol -P EmbedFile.cmake
# Turns a file into `const unsigned char NAME[]` and `const size_t NAME_len`; meant for files up to some 100 KB.
file(READ ${INPUT} hex HEX)
string(LENGTH "${hex}" digits)
if(digits EQUAL 0)
  message(FATAL_ERROR "${INPUT} is empty")
endif()
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REPEAT "0x[0-9a-f][0-9a-f]," 20 row)
string(REGEX REPLACE "(${row})" "\\1\n" bytes "${bytes}")
get_filename_component(header ${HEADER} NAME)

file(WRITE ${HEADER} "#pragma once

#include <stddef.h>

extern const unsigned char ${NAME}[];
extern const size_t ${NAME}_len;
")
file(WRITE ${OUTPUT} "#include \"${header}\"

const unsigned char ${NAME}[] = {
${bytes}
};
const size_t ${NAME}_len = sizeof ${NAME};
")
