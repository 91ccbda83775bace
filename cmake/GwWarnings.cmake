# The warnings every hand-written file compiles with; generated code is a target without them.
add_library(gw_warnings INTERFACE)
target_compile_options(gw_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wvla
  -Wformat=2 -Wundef -Wcast-qual -Wimplicit-fallthrough
  $<$<C_COMPILER_ID:GNU>:-Wjump-misses-init>)
option(GW_WERROR "treat warnings as errors" ON)
if(GW_WERROR)
  target_compile_options(gw_warnings INTERFACE -Werror)
endif()
