# Read by CMake when it configures gRPC's C core.
#
# A server of the core registers a filter that compresses and unpacks messages.
# Here nothing is ever compressed, and what a client compresses is refused at its
# headers; but each message in each direction would go through that filter all
# the same, which takes up to two fifths of a server's processor time, and this
# version has no setting that leaves it out. So `http_filters_plugin.cc`, which
# has a function `compression` to register it, is compiled with a macro over that
# function that passes servers by.
include_guard()

# A toolchain file of one's own, which this one takes the place of.
if(DEFINED ENV{CMAKE_TOOLCHAIN_FILE})
    include("$ENV{CMAKE_TOOLCHAIN_FILE}")
endif()

# Where there is a toolchain file, the compilers are left to CMake, which knows the
# names CC and CXX alone. The flags are still those for the compilers that Cargo's
# other names choose.
string(REPLACE "-" "_" target "$ENV{TARGET}")
foreach(tool CC CXX)
    foreach(name HOST_${tool} ${tool}_${target} ${tool}_$ENV{TARGET})
        if(DEFINED ENV{${name}})
            set(ENV{${tool}} "$ENV{${name}}")
        endif()
    endforeach()
endforeach()

set_source_files_properties(src/core/ext/filters/http/http_filters_plugin.cc PROPERTIES COMPILE_OPTIONS
    "-Dcompression(channel, filter)=(channel == GRPC_SERVER_CHANNEL ? void() : compression(channel, filter))")

# For each message that is read this version sends a frame of its own that gives the
# stream its few bytes back, before the message is answered: a system call here, a
# wake-up and two more at the other end. With `flow_control.h` that waits until it is
# half of the window, as it does in later versions.
set_source_files_properties(src/core/ext/transport/chttp2/transport/flow_control.cc PROPERTIES COMPILE_OPTIONS
    "-include;${CMAKE_CURRENT_LIST_DIR}/flow_control.h")
