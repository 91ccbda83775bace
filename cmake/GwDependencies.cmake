# Third-party libraries as imported targets, each found once. Headers are SYSTEM: their warnings are not ours.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

foreach(dependency IN ITEMS
    "grpc:grpc" "protobufc:libprotobuf-c" "mongoc:libmongoc-1.0" "hiredis:hiredis" "curl:libcurl" "openssl:openssl"
    "argon2:libargon2" "uv:libuv" "llhttp:libllhttp" "yyjson:yyjson" "yaml:yaml-0.1" "cmocka:cmocka")
  string(REPLACE ":" ";" pair ${dependency})
  list(GET pair 0 name)
  list(GET pair 1 module)
  pkg_check_modules(${name} REQUIRED IMPORTED_TARGET GLOBAL ${module})
  # pkg-config's include folders come without SYSTEM.
  get_target_property(folders PkgConfig::${name} INTERFACE_INCLUDE_DIRECTORIES)
  if(folders)
    set_target_properties(PkgConfig::${name} PROPERTIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES "${folders}")
  endif()
endforeach()
