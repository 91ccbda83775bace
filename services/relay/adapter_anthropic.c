#include "anthropic.h"

const adapter_ops adapter_anthropic = {
    .name = "anthropic",
    .write_request = anthropic_write_request,
    .on_event = anthropic_on_event,
    .on_end = anthropic_on_end,
    .on_answer = anthropic_on_answer,
    .stream_answer = adapter_stream_answer,
    .map_error = anthropic_map_error,
};
