// Read before the core's flow_control.cc, see grpc.cmake: what a stream may send
// again is told at once when it is half of its window, and otherwise with whatever
// goes out next.
#pragma once

#include <grpc/support/port_platform.h>

#include "src/core/ext/transport/chttp2/transport/flow_control.h"

#define set_send_stream_update(urgency)                              \
  set_send_stream_update(                                            \
      desired_announce_size * 2 < int64_t{tfc_->sent_init_window()}  \
          ? FlowControlAction::Urgency::QUEUE_UPDATE                 \
          : urgency)
